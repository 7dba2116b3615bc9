"""Whether temperatures tell the coordinates of the conformation apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.priors._temperature import temperature_levels
from cryo_disentangle.priors.temperature_normal import NormalMoments
from cryo_disentangle.unmixing import halves, joint_diagonalizer, significance, whitener

__all__ = [
    "TemperatureIdentifiability",
    "identifiability_of_moments",
    "temperature_identifiability",
]

_RESAMPLES = 100
_FEWEST_PARTICLES = 50


class TemperatureIdentifiability(NamedTuple):
    """Identifiability of Z coordinates, each normal at each of T temperatures.

    Two coordinates can be distinguished if the ratio of their variances changes with the
    temperature. If every two can, nearly linear mixtures of the coordinates are resolved; and any
    smooth mixture, if moreover the matrix of natural-parameter differences has full rank. Harmonic
    wells, all of whose variances grow with the temperature alike, fail both.

    Attributes:
        levels_kelvin: The temperatures T_0 < T_1 < ..., shape (T,).
        axes: Rows are the directions that were judged, shape (Z, Z): direction i is
            ``latents @ axes[i]``.
        matrix: λ(T_l) - λ(T_0) for l >= 1, shape (T - 1, S): λ holds -1 / 2σ² of each coordinate,
            and then μ / σ² of those whose mean the temperature moves; columns are in units of
            their largest standard error, or of their largest entry if moments are exact.
        rank: Number of singular values of ``matrix`` that are no accident.
        condition_number: Largest over smallest of the S singular values; infinite if S >= T.
        separation: Largest change between two temperatures of the log of the variances' ratio of
            each two coordinates, shape (Z, Z).
        standard_error: Its standard error, shape (Z, Z).
        distinct: Whether that change is clear, shape (Z, Z), bool.

    References:
        Khemakhem et al. 2020, Variational autoencoders and nonlinear ICA, Theorem 1: assumption
        (iv), the rank. A statistic whose parameter no temperature changes is part of the base
        measure there.
    """

    levels_kelvin: Tensor
    axes: Tensor
    matrix: Tensor
    rank: int
    condition_number: float
    separation: Tensor
    standard_error: Tensor
    distinct: Tensor

    @property
    def required_rank(self) -> int:
        """Number S of parameters that the temperature has to move independently."""
        return self.matrix.shape[1]

    @property
    def alike(self) -> list[tuple[int, int]]:
        """Pairs of coordinates that the temperatures don't tell apart, counted from 0."""
        first, second = torch.triu_indices(len(self.axes), len(self.axes), offset=1)
        same = ~self.distinct.cpu()[first, second]
        return list(zip(first[same].tolist(), second[same].tolist(), strict=True))

    @property
    def identifiable(self) -> bool:
        """Whether every two coordinates can be distinguished."""
        return not self.alike

    @property
    def verdict(self) -> str:
        """The finding in words."""
        levels = ", ".join(f"{level:g}" for level in self.levels_kelvin.tolist())
        if self.alike:
            pairs = ", ".join(f"{i + 1} and {j + 1}" for i, j in self.alike)
            return (
                f"Not identifiable: from one of the temperatures ({levels} K) to another, these "
                "directions of the latent space widen or narrow alike, as far as the particles "
                f"show: {pairs}. Any mixture of them explains the images as well, so single "
                "coordinates have no meaning. Harmonic motions always behave so. A temperature at "
                "which one of the motions freezes, or time-resolved data, could tell them apart."
            )
        if len(self.axes) == 1:
            return "Identifiable: there is a single coordinate, which nothing can be mixed with."
        if self.rank == self.required_rank:
            return (
                f"Identifiable: each coordinate reacts to the temperatures ({levels} K) in its own "
                "way, and there are enough of them to undo any smooth mixing of the coordinates."
            )
        reason = (
            f"at least {self.required_rank + 1} temperatures are needed for that"
            if len(self.levels_kelvin) <= self.required_rank
            else "some temperatures add no information"
        )
        return (
            "Identifiable if mixing is nearly linear: each coordinate reacts to the temperatures "
            f"({levels} K) in its own way. But they move only {self.rank} of {self.required_rank} "
            f"parameters independently, too few to exclude strongly curved mixtures: {reason}."
        )


class _Levels(NamedTuple):
    """Samples at each temperature."""

    kelvin: Tensor
    samples: list[Tensor]


def _levels(latents: Tensor, temperature: Tensor) -> _Levels:
    """Sorts latents by temperature, and refuses what can't be judged."""
    if latents.ndim != 2 or temperature.shape != latents.shape[:1]:
        raise ValueError(
            "latents of shape (N, Z) and temperatures (N,) are needed, found "
            f"{tuple(latents.shape)} and {tuple(temperature.shape)}"
        )
    if not bool(latents.isfinite().all()):
        raise ValueError("latents have values that are not finite")
    kelvin, level = temperature_levels(temperature, _FEWEST_PARTICLES)
    samples = [latents[level == number].double() for number in range(len(kelvin))]
    return _Levels(kelvin, samples)


def _axes(samples: list[Tensor]) -> Tensor:
    """Directions that are uncorrelated at every temperature, of mean variance one."""
    covariances = torch.stack([torch.cov(at.T).reshape(at.shape[1], -1) for at in samples])
    white = whitener(covariances.mean(0))
    return joint_diagonalizer(white @ covariances @ white.T) @ white


def _moments(samples: list[Tensor]) -> NormalMoments:
    """Means and log standard deviations, (T, Z) each."""
    mean = torch.stack([at.mean(0) for at in samples])
    return NormalMoments(mean, torch.stack([at.std(0).log() for at in samples]))


def _differences(moments: NormalMoments) -> Tensor:
    """Differences of natural parameters to the first level, variances' first, (T - 1, 2Z)."""
    precision = torch.exp(-2 * moments.log_scale)
    natural = torch.cat([-0.5 * precision, moments.mean * precision], dim=1)
    return natural[1:] - natural[:1]


def _responding(mean: Tensor, error: Tensor) -> Tensor:
    """Columns of `_differences` that count: all variances', and those of means that move, (2Z,)."""
    change = (mean[1:] - mean[:1]).abs()
    allowed = significance(change.numel()) * (error[1:].square() + error[:1].square()).sqrt()
    moving = (change > allowed).any(0)
    return torch.cat([torch.ones_like(moving), moving])


def _rank(matrix: Tensor, tolerance: float) -> tuple[int, float]:
    """Number of singular values above the tolerance, and the condition number."""
    values = torch.linalg.svdvals(matrix)
    rank = int((values > tolerance).sum())
    full = matrix.shape[0] >= matrix.shape[1] and float(values[-1]) > 0
    return rank, float(values[0] / values[-1]) if full else float("inf")


def separation(
    log_variance: Tensor, error: Tensor, minimum_effect: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Finds how much the ratio of two coordinates' variances changes with the temperature.

    Args:
        log_variance: Of each coordinate at each temperature, shape (T, Z).
        error: Its standard error, shape (T, Z).
        minimum_effect: Changes up to this are taken for none, beyond the sampling error.

    Returns:
        Largest change of the log of the ratio of each two, its standard error, and whether it is
        clear, shape (Z, Z) each.
    """
    levels, width = log_variance.shape
    ratio = log_variance[:, :, None] - log_variance[:, None]
    squares = error.square()
    ratio_square = squares[:, :, None] + squares[:, None]
    first, second = torch.triu_indices(levels, levels, offset=1, device=ratio.device)
    change = (ratio[first] - ratio[second]).abs()
    change_error = (ratio_square[first] + ratio_square[second]).sqrt()
    errors_needed = significance(len(first) * width * (width - 1) // 2)
    excess, best = (change - errors_needed * change_error).max(0)
    pick = best[None]
    distinct = excess > minimum_effect
    return change.gather(0, pick)[0], change_error.gather(0, pick)[0], distinct


def temperature_identifiability(
    latents: Tensor, temperature: Tensor, minimum_effect: float = 0.1
) -> TemperatureIdentifiability:
    """Tests whether the temperatures of particles distinguish their coordinates.

    The latents may be mixed linearly: the directions that are uncorrelated at every temperature are
    found from one half of the particles and judged by the other, so that the choice does not bias
    the result. Only means and variances are used.

    Args:
        latents: Conformations of N particles, such as posterior means, shape (N, Z).
        temperature: In kelvin, shape (N,), of a few levels.
        minimum_effect: Changes of log variance ratios up to this count as none, beyond the sampling
            error; latents are never exact.

    Returns:
        The finding, with `TemperatureIdentifiability.verdict` in words.

    Raises:
        ValueError: If shapes don't fit, values are not finite, temperatures are less than two or
            not in kelvin, a level has less than 50 particles, or a coordinate does not vary.
    """
    kelvin, samples = _levels(latents, temperature)
    fitted, others = zip(*(halves(at) for at in samples), strict=True)
    axes = _axes(list(fitted))
    centre = torch.stack([at.mean(0) for at in fitted]).mean(0)
    held_out = [(at - centre) @ axes.T for at in others]
    moments = _moments(held_out)
    kurtosis = torch.stack([_standardise(at).pow(4).mean(0) for at in held_out])
    count = torch.tensor([len(at) for at in held_out], device=axes.device)[:, None]
    error = ((kurtosis - 1) / count).sqrt()

    matrix = _differences(moments)
    noise = torch.stack([_differences(_moments(again)) for again in _resamples(held_out)]) - matrix
    deviation = noise.square().mean(0).sqrt()
    unit = deviation.amax(0)
    columns = _responding(moments.mean, moments.log_scale.exp() / count.sqrt())
    scaled = (matrix / unit)[:, columns]
    norms = torch.linalg.matrix_norm((noise / unit)[:, :, columns], ord=2)
    # By Weyl's inequality noise moves no singular value further than its norm.
    rank, condition = _rank(scaled, float(norms.quantile(0.99)))
    found = separation(2 * moments.log_scale, error, minimum_effect)
    return TemperatureIdentifiability(kelvin, axes, scaled, rank, condition, *found)


def _standardise(samples: Tensor) -> Tensor:
    """Samples of zero mean and unit variance, (N, Z)."""
    return (samples - samples.mean(0)) / samples.std(0, correction=0)


def _resamples(samples: list[Tensor]) -> list[list[Tensor]]:
    """Bootstrap samples within each level, the same ones every time."""
    generator = torch.Generator().manual_seed(0)
    return [
        [
            at[torch.randint(len(at), (len(at),), generator=generator).to(at.device)]
            for at in samples
        ]
        for _ in range(_RESAMPLES)
    ]


def identifiability_of_moments(
    moments: NormalMoments, levels_kelvin: Tensor, minimum_effect: float = 0.1
) -> TemperatureIdentifiability:
    """Judges a prior, such as a learned one, whose moments are free of sampling error.

    Args:
        moments: Of each coordinate at each temperature, shapes (T, Z): `TemperatureNormal.law` at
            ``levels_kelvin``.
        levels_kelvin: Temperatures in kelvin, shape (T,), T >= 2.
        minimum_effect: Changes of log variance ratios up to this are taken for equal, and singular
            values up to this share of the largest for zero.

    Returns:
        The finding, with `TemperatureIdentifiability.verdict` in words.

    Raises:
        ValueError: If there are less than two temperatures, or shapes don't fit.
    """
    mean, log_scale = (moment.detach().double() for moment in moments)
    if len(levels_kelvin) < 2 or mean.shape != log_scale.shape or len(mean) != len(levels_kelvin):
        raise ValueError(
            "moments (T, Z) at two or more temperatures (T,) are needed, found "
            f"{tuple(mean.shape)} and {tuple(log_scale.shape)} at {tuple(levels_kelvin.shape)}"
        )
    matrix = _differences(NormalMoments(mean, log_scale))
    width = mean.shape[1]
    matrix = matrix[:, _responding(mean, minimum_effect * log_scale.exp())]
    scaled = matrix / matrix.abs().amax(0).clamp_min(1e-12)
    largest = float(torch.linalg.svdvals(scaled)[0])
    rank, condition = _rank(scaled, minimum_effect * largest)
    found = separation(2 * log_scale, torch.zeros_like(log_scale), minimum_effect)
    axes = torch.eye(width, dtype=torch.float64, device=mean.device)
    return TemperatureIdentifiability(levels_kelvin.double(), axes, scaled, rank, condition, *found)
