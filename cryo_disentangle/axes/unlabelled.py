"""Axes of latents that come without times and temperatures: conventions, not findings."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.axes.contrast import least_normal, resampled
from cryo_disentangle.axes.linear import (
    FloatArray,
    LinearAxes,
    bootstrap_weights,
    in_words,
)
from cryo_disentangle.axes.noisy import (
    NoisyLatents,
    check_explained,
    conformation_covariance,
    covariance_sums,
    mean_conformation,
    noisy_latents,
    solve_covariance,
)
from cryo_disentangle.metrics.functional.codes import Array, check_columns

__all__ = ["IndependentAxes", "PrincipalAxes"]

_BLOCKS = 200


class PrincipalAxes(LinearAxes):
    """Principal axes of the conformations, with the noise of the latents subtracted.

    Nothing identifies them: they depend on the units of the latents.

    Args:
        errors: Whether ``covariance`` holds errors of estimates rather than posteriors under a
            standard normal prior.

    Attributes:
        variance_: Of the conformations along each axis, in the latents' units, shape (Z,).
    """

    variance_: FloatArray

    def __init__(self, *, errors: bool = False) -> None:
        self.errors = errors

    def fit(self, latents: Array, covariance: Array | None = None) -> PrincipalAxes:
        """Finds the axes.

        Args:
            latents: Such as posterior means, shape (N, Z).
            covariance: Of each particle's latents, shape (N, Z, Z), or variances (N, Z); None for
                exact latents.

        Returns:
            Itself; axes are ordered by variance, largest first.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, or noise explains all of the
                spread.
        """
        noisy = noisy_latents(latents, covariance, errors=self.errors)
        centre = mean_conformation(noisy)
        block = torch.arange(len(noisy.value), device=centre.device) % _BLOCKS
        kernel, target = covariance_sums(noisy, centre, block, _BLOCKS)
        back = torch.linalg.inv(noisy.frame)
        found = back @ solve_covariance(kernel.sum(0), target.sum(0)) @ back.T
        raw = check_columns(latents, "latents").to(centre)
        check_explained(found, torch.cov(raw.T).reshape(found.shape), len(raw), "the latents")
        variance, axes = torch.linalg.eigh(found)
        self.variance_ = variance.flip(0).cpu().numpy()
        order = variance.argsort(descending=True)
        # The axes are orthogonal in the latents' own units, whatever the noise's frame.
        kept = self._settle(axes.T @ back, order, noisy, raw)
        again = []
        for weight in bootstrap_weights(_BLOCKS):
            weight = weight.to(centre)
            one = solve_covariance(torch.tensordot(weight, kernel, 1), weight @ target)
            again.append(torch.linalg.eigh(back @ one @ back.T)[1].T @ back)
        self._spread_of(torch.stack(again), kept, back.T @ back)
        self.determined_ = False
        self.verdict_ = (
            "Not determined: without times or temperatures principal axes are a convention, "
            "directions of largest spread in the units that the latents happen to have. "
            f"{in_words(self.angle_)}"
        )
        return self


class IndependentAxes(LinearAxes):
    """Axes along which conformations are farthest from normal, with noise subtracted.

    Linear independent component analysis with Gaussian moments. It finds the motions only if they
    are independent, not normal, and mixed linearly; the latents cannot show whether they are.

    Args:
        errors: Whether ``covariance`` holds errors of estimates rather than posteriors under a
            standard normal prior.

    Attributes:
        kurtosis_: Of the latents along each axis, shape (Z,): 3 for normal ones.

    References:
        Hyvärinen 1999, Fast independent component analysis with noisy data using Gaussian moments.
    """

    kurtosis_: FloatArray

    def __init__(self, *, errors: bool = False) -> None:
        self.errors = errors

    def fit(self, latents: Array, covariance: Array | None = None) -> IndependentAxes:
        """Finds the axes.

        Args:
            latents: Such as posterior means, shape (N, Z).
            covariance: Of each particle's latents, shape (N, Z, Z), or variances (N, Z); None for
                exact latents.

        Returns:
            Itself; axes are ordered by how far from normal conformations are along them.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, or noise explains all of the
                spread.
        """
        noisy = noisy_latents(latents, covariance, errors=self.errors)
        white, whiten, noise = _without_noise(noisy)
        axes = least_normal(white, noise)
        along = white @ axes.T
        along = along / along.std(0)
        kurtosis = along.pow(4).mean(0)
        order = (kurtosis - 3).abs().argsort(descending=True)
        self.kurtosis_ = kurtosis[order].cpu().numpy()
        raw = check_columns(latents, "latents").to(white)
        kept = self._settle(axes @ whiten, order, noisy, raw)
        identity = torch.eye(len(axes), dtype=axes.dtype, device=axes.device)
        found, scale = resampled(white, axes)
        self._spread_of(found, kept @ torch.linalg.inv(whiten), identity, scale)
        self.determined_ = False
        self.verdict_ = (
            "Not determined: without times or temperatures independent axes are a guess that the "
            "motions are independent, not normal and mixed linearly, which the latents cannot "
            f"tell. {in_words(self.angle_)}"
        )
        return self


def _without_noise(noisy: NoisyLatents) -> tuple[Tensor, Tensor, Tensor | None]:
    """Latents whose conformations have unit covariance, the map to them, and the noise left."""
    centre = mean_conformation(noisy)
    found = conformation_covariance(noisy, centre)
    observed = torch.cov(noisy.value.T).reshape(found.shape)
    check_explained(found, observed, len(noisy.value), "the latents")
    values, vectors = torch.linalg.eigh(found)
    whiten = (vectors * values.rsqrt()) @ vectors.T
    if noisy.gain is None or noisy.noise is None:
        return (noisy.value - centre) @ whiten.T, whiten, None
    undo = whiten @ torch.linalg.inv(noisy.gain.mean(0))
    samples = (noisy.value - noisy.value.mean(0)) @ undo.T
    return samples, undo, undo @ noisy.noise.mean(0) @ undo.T
