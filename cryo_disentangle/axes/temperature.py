"""Axes whose spreads react to the temperature in ways of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.axes.linear import (
    LARGEST_ANGLE,
    SINGLE,
    FloatArray,
    LinearAxes,
    bootstrap_weights,
    in_words,
    match_axes,
)
from cryo_disentangle.axes.noisy import (
    NoisyLatents,
    check_explained,
    covariance_sums,
    mean_conformation,
    noisy_latents,
    solve_covariance,
)
from cryo_disentangle.metrics.functional.codes import Array, check_columns
from cryo_disentangle.priors._temperature import temperature_levels
from cryo_disentangle.priors.identifiability import separation
from cryo_disentangle.unmixing import joint_diagonalizer, whitener

__all__ = ["TemperatureAxes"]

_FEWEST_PARTICLES = 50
# Resamples are of blocks of particles, whose sums are made once.
_BLOCKS = 200
_ROWS_PER_BLOCK = 2


class TemperatureAxes(LinearAxes):
    """Axes by temperature: those along which conformations are uncorrelated at every temperature.

    The covariances of the conformations at all temperatures, with the noise of the latents
    subtracted, are diagonalised jointly. Two axes can be distinguished if the ratio of their
    variances changes with the temperature; for harmonic motions it never does.

    Particles are treated as independent. Frames of one trajectory are not, since a run visits each
    state only a few times: angles and errors are then too small, and axes may be called determined
    because of the sampling of the runs alone. Frames must be farther apart than the memory of the
    slowest motion.

    Args:
        errors: Whether ``covariance`` holds errors of estimates rather than posteriors under a
            standard normal prior.
        minimum_effect: Changes of log variance ratios up to this count as none, beyond the sampling
            error. Latents are never exact: large motions leave a subspace of few volumes, and this
            alone changes the ratio of harmonic ones at SNR 0.1 by 0.15.

    Attributes:
        levels_kelvin_: The temperatures, shape (T,).
        spread_: Standard deviation along each axis at each temperature without noise, in units of
            the new coordinates, shape (T, Z).
        ratio_: Variance at the hottest over that at the coldest temperature, shape (Z,).
        separation_: Largest change between two temperatures of the log of the ratio of two axes'
            variances, shape (Z, Z), on particles that were not used to choose the axes.
        separation_error_: Its standard error, shape (Z, Z).

    References:
        Belouchrani et al. 1997, A blind source separation technique using second-order statistics
        (joint diagonalisation); Khemakhem et al. 2020, Variational autoencoders and nonlinear ICA.
    """

    levels_kelvin_: FloatArray
    spread_: FloatArray
    ratio_: FloatArray
    separation_: FloatArray
    separation_error_: FloatArray

    def __init__(self, *, errors: bool = False, minimum_effect: float = 0.15) -> None:
        self.errors, self.minimum_effect = errors, minimum_effect

    def fit(
        self, latents: Array, temperature: Array, covariance: Array | None = None
    ) -> TemperatureAxes:
        """Finds the axes.

        Args:
            latents: Such as posterior means, shape (N, Z).
            temperature: In kelvin, shape (N,), of at least two levels of 50 particles.
            covariance: Of each particle's latents, shape (N, Z, Z), or variances (N, Z); None for
                exact latents.

        Returns:
            Itself; axes are ordered by how much heat widens them.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, there are fewer than two
                temperatures or too few particles at one, or noise explains all of the spread.
        """
        noisy = noisy_latents(latents, covariance, errors=self.errors)
        kelvin = check_columns(temperature, "temperature").to(noisy.value.device)
        if len(kelvin) != len(noisy.value) or kelvin.shape[1] != 1:
            raise ValueError(
                "latents of shape (N, Z) and temperatures (N,) are needed, got "
                f"{tuple(noisy.value.shape)} and {tuple(kelvin.shape)}"
            )
        levels, level = temperature_levels(kelvin[:, 0], _FEWEST_PARTICLES)
        sums = [_block_sums(noisy.take(level == number)) for number in range(len(levels))]
        covariances = _covariances(sums)
        observed = torch.cov(noisy.value.T).reshape(covariances[0].shape)
        check_explained(covariances.mean(0), observed, len(noisy.value), "the latents")
        axes = _axes(covariances)
        along = torch.einsum("ij,tjk,ik->ti", axes, covariances, axes)
        order = (along[-1] / along[0].clamp(min=1e-9)).argsort(descending=True)
        raw = check_columns(latents, "latents").to(noisy.value)
        axes = self._settle(axes, order, noisy, raw)
        self.levels_kelvin_ = levels.cpu().numpy()
        self._spread_of(_resampled(sums, axes), axes, covariances.mean(0))
        self._diagnose(sums, axes)
        return self

    def _diagnose(self, sums: list[_Sums], axes: Tensor) -> None:
        """Keeps the spreads, and whether they distinguish the axes."""
        covariances = _covariances(sums)
        variance = torch.einsum("ij,tjk,ik->ti", axes, covariances, axes).clamp(min=0)
        self.spread_ = variance.sqrt().cpu().numpy()
        self.ratio_ = (variance[-1] / variance[0]).cpu().numpy()
        halves = [_half(sums, 0), _half(sums, 1)]
        judged = [
            _log_variances(other, _matched(_axes(_covariances(half)), axes, covariances.mean(0)))
            for half, other in (halves, halves[::-1])
        ]
        log_variance = 0.5 * (judged[0][0] + judged[1][0])
        error = 0.5 * (judged[0][1].square() + judged[1][1].square()).sqrt()
        change, change_error, distinct = separation(log_variance, error, self.minimum_effect)
        self.separation_, self.separation_error_ = change.cpu().numpy(), change_error.cpu().numpy()
        width = len(axes)
        alike = [(i, j) for j in range(width) for i in range(j) if not distinct[i, j]]
        self.determined_, self.verdict_ = self._words(alike)

    def _words(self, alike: list[tuple[int, int]]) -> tuple[bool, str]:
        """Whether axes are determined, and the finding in words."""
        levels = ", ".join(f"{level:g}" for level in self.levels_kelvin_)
        ratios = ", ".join(f"{ratio:.2g}" for ratio in self.ratio_)
        if len(self.angle_) == 1:
            return True, SINGLE
        found = (
            f"From the coldest to the hottest of {levels} K the variances along the axes grow "
            f"{ratios} times."
        )
        if alike:
            pairs = ", ".join(f"{i + 1} and {j + 1}" for i, j in alike)
            return False, (
                f"Not determined by temperature: axes {pairs} widen or narrow alike, as far as the "
                "particles show, so any mixture of them fits "
                f"equally well. {found} Harmonic motions "
                "always behave so. A temperature at which one of the motions freezes, or "
                "time-resolved data, could tell them apart."
            )
        if float(self.angle_.max()) > LARGEST_ANGLE:
            return False, (
                f"Not determined by temperature: there are too few particles. {found} "
                f"{in_words(self.angle_)}"
            )
        return True, (
            "Determined by temperature: each axis reacts to the temperature in its own way. "
            f"{found} {in_words(self.angle_)}"
        )


_Sums = tuple[Tensor, Tensor]


def _block_sums(latents: NoisyLatents) -> _Sums:
    """Kernels and targets of blocks of the particles at one temperature."""
    count = len(latents.value)
    blocks = min(_BLOCKS, count // _ROWS_PER_BLOCK)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    block = (order % blocks).to(latents.value.device)
    return covariance_sums(latents, mean_conformation(latents), block, blocks)


def _covariances(sums: list[_Sums]) -> Tensor:
    """Covariance at each temperature, (T, Z, Z)."""
    return torch.stack([solve_covariance(k.sum(0), target.sum(0)) for k, target in sums])


def _half(sums: list[_Sums], first: int) -> list[_Sums]:
    """Every second block."""
    return [(kernel[first::2], target[first::2]) for kernel, target in sums]


def _axes(covariances: Tensor) -> Tensor:
    """Axes that are uncorrelated at every temperature, (Z, Z)."""
    white = whitener(covariances.mean(0))
    return joint_diagonalizer(white @ covariances @ white.T) @ white


def _matched(axes: Tensor, reference: Tensor, covariance: Tensor) -> Tensor:
    """Axes in the order of a reference."""
    return axes[match_axes(axes[None], reference, covariance)[0]]


def _resampled(sums: list[_Sums], axes: Tensor) -> Tensor:
    """Axes of resampled blocks, (R, Z, Z)."""
    draws = [bootstrap_weights(len(target), seed) for seed, (_, target) in enumerate(sums)]
    found = []
    for weights in zip(*draws, strict=True):
        again = [
            (weight.to(kernel)[:, None, None] * kernel, weight.to(target)[:, None] * target)
            for weight, (kernel, target) in zip(weights, sums, strict=True)
        ]
        try:
            found.append(_axes(_covariances(again)))
        except ValueError:
            # Noise explains all of this resample, and it says nothing of the axes.
            generator = torch.Generator().manual_seed(len(found))
            found.append(torch.randn(axes.shape, generator=generator).to(axes))
    return torch.stack(found)


def _log_variances(sums: list[_Sums], axes: Tensor) -> _Sums:
    """Log variances along axes at each temperature, and their standard errors, (T, Z)."""
    values, errors = [], []
    for seed, (kernel, target) in enumerate(sums):
        resamples = torch.stack(
            [
                solve_covariance(
                    torch.tensordot(weight.to(kernel), kernel, 1), weight.to(target) @ target
                )
                for weight in bootstrap_weights(len(target), seed)
            ]
        )
        whole = solve_covariance(kernel.sum(0), target.sum(0))
        variance = torch.einsum("ij,njk,ik->ni", axes, torch.cat([whole[None], resamples]), axes)
        # A motion that is frozen has no variance left; no less than its error is claimed.
        deviation = variance[1:].std(0)
        log = torch.maximum(variance, deviation).log()
        values.append(log[0])
        errors.append(log[1:].std(0).clamp(min=1e-12))
    return torch.stack(values), torch.stack(errors)
