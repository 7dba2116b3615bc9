"""Axes by time under the exact likelihood of the particles, by importance sampling."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.axes.contrast import Orientation, least_normal, together, whitened
from cryo_disentangle.axes.linear import (
    FloatArray,
    LinearAxes,
    axis_angles,
    bootstrap_weights,
    match_axes,
)
from cryo_disentangle.axes.noisy import NoisyLatents
from cryo_disentangle.axes.time import frame_pairs, words_of_time
from cryo_disentangle.metrics.functional.codes import Array, as_tensor

__all__ = ["EvidenceAxes", "LogLikelihood"]

LogLikelihood: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""log p(x | z) of samples z (n, 2, S, Z) of both frames of the pairs in rows (n,), (n, 2, S)."""

# Proposals are wider than posteriors, so that no weight is without bound.
_WIDEN = 1.2
_TRIAL_PAIRS = 1000
_STARTS = 6
_STEPS = 60
# Of the axes, to find the curvature of the evidence.
_SHIFT = 0.03
# Nats a pair; two Laplace distributions without noise show 0.06.
_SMALLEST_EFFECT = 0.001


class EvidenceAxes(LinearAxes):
    """Axes by time that maximise the evidence of pairs of frames.

    The earlier frame is standard normal, the step to the later one is Laplace-distributed along
    each axis: p(z₂ | z₁) ∝ |det W| exp(-Σ_i |W (z₂ - z₁)|_i). The evidence of each pair is an
    average over samples of both frames, weighted by the likelihood of their images, so noise need
    not be subtracted.

    Args:
        samples: Samples S of each frame that `fit` draws from its posterior, 1.2 times widened.
        pairs: Most pairs that are used.
        seed: Of the samples and of the starts.

    Attributes:
        evidence_: Mean log evidence of a pair at the axes, in nats, up to a constant of the data.
        contrast_: How many nats a pair favours two axes over those at 45° between them, on pairs
            that were not used to choose the axes, shape (Z, Z).
        contrast_error_: Its standard error, shape (Z, Z).

    Raises:
        ValueError: If there are fewer than 2 samples.

    References:
        Klindt et al. 2021, Towards nonlinear disentanglement in natural data with temporal sparse
        coding, Eq. 2; Burda et al. 2016, Importance weighted autoencoders, Eq. 8.
    """

    evidence_: float
    contrast_: FloatArray
    contrast_error_: FloatArray

    def __init__(self, *, samples: int = 64, pairs: int = 5000, seed: int = 0) -> None:
        if samples < 2:
            raise ValueError(f"samples must be at least 2, got {samples}")
        self.samples, self.pairs, self.seed = samples, pairs, seed

    def fit(
        self,
        earlier: Array,
        later: Array,
        covariance: tuple[Array, Array],
        log_likelihood: LogLikelihood | None = None,
        interval: Array | None = None,
    ) -> EvidenceAxes:
        """Finds the axes from posteriors and the likelihood.

        Args:
            earlier: Posterior means of the earlier frames under a standard normal prior, (N, Z).
            later: Of the later ones, shape (N, Z).
            covariance: Posterior covariances (N, Z, Z) or variances (N, Z) of both.
            log_likelihood: Exact likelihood of the particles, such as that of their statistics;
                None takes the normal one that the posteriors stand for.
            interval: Time between frames, shape (N,); None where it is always the same.

        Returns:
            Itself.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, or there are fewer than 200
                pairs.
        """
        pairs = frame_pairs(earlier, later, covariance, interval, errors=False)
        generator = torch.Generator().manual_seed(self.seed)
        rows = torch.randperm(len(pairs.scale), generator=generator)[: self.pairs]
        rows = rows.to(pairs.raw.device)
        frames = [pairs.earlier.take(rows), pairs.later.take(rows)]
        drawn = [_draw(frame, self.samples, generator) for frame in frames]
        samples = torch.stack([sample for sample, _, _ in drawn], 1)
        own = torch.stack([likelihood for _, likelihood, _ in drawn], 1)
        if log_likelihood is not None:
            own = log_likelihood(samples, rows).to(samples)
        proposal = torch.stack([density for _, _, density in drawn], 1)
        return self._fit(samples, own - proposal, pairs.scale[rows])

    def fit_samples(
        self, samples: Array, log_weights: Array, interval: Array | None = None
    ) -> EvidenceAxes:
        """Finds the axes from weighted samples of both frames.

        Args:
            samples: Of N pairs, shape (N, 2, S, Z).
            log_weights: log p(x | z) - log q(z) of each, with q the density that samples were
                drawn from, shape (N, 2, S); constants of a frame do not matter.
            interval: Time between frames, shape (N,); None where it is always the same.

        Returns:
            Itself.

        Raises:
            ValueError: If shapes don't fit, numbers are not finite, or there are fewer than 200
                pairs.
        """
        z = as_tensor(samples, "samples").double()
        weights = as_tensor(log_weights, "log_weights").to(z)
        if z.ndim != 4 or z.shape[1] != 2 or weights.shape != z.shape[:3]:
            raise ValueError(
                "samples of shape (N, 2, S, Z) and log_weights (N, 2, S) are needed, got "
                f"{tuple(z.shape)} and {tuple(weights.shape)}"
            )
        if not bool(z.isfinite().all()) or not bool(weights.isfinite().all()):
            raise ValueError("samples and log_weights must be finite")
        means = z.mean(2)
        pairs = frame_pairs(means[:, 0], means[:, 1], None, interval, errors=False)
        rows = torch.arange(len(z))[: self.pairs].to(z.device)
        return self._fit(z[rows], weights[rows], pairs.scale[rows])

    def _fit(self, samples: Tensor, log_weights: Tensor, scale: Tensor) -> EvidenceAxes:
        """Maximises the evidence of pairs (n, 2, S, Z)."""
        earlier, later = samples.unbind(1)
        base = log_weights.sum(1) - 0.5 * earlier.square().sum(-1)
        steps = (later - earlier) * scale[:, :, None]
        axes = _search(steps, base, self.seed)
        raw = (log_weights.softmax(2)[..., None] * samples).sum(2).flatten(0, 1)
        identity = torch.eye(len(axes), dtype=axes.dtype, device=axes.device)
        latents = NoisyLatents(raw, None, None, identity, torch.zeros_like(raw[0]))
        spread = torch.cov(raw.T).reshape(axes.shape)
        order = (axes @ spread * axes).sum(1).argsort(descending=True)
        kept = self._settle(axes, order, latents, raw)
        axes = axes[order]
        self.evidence_ = float(_evidence(axes, steps, base).mean())
        self._spread_of(_resampled(axes, steps, base), kept, spread)
        contrast, apart = _held_out(axes, steps, base, spread)
        # Twice as far as the whole from the truth, two halves are as far apart as the whole may be.
        self.angle_ = np.maximum(self.angle_, apart.cpu().numpy())
        self.contrast_ = contrast.contrast.cpu().numpy()
        self.contrast_error_ = contrast.standard_error.cpu().numpy()
        distinct = contrast.distinct(_SMALLEST_EFFECT)
        self.determined_, self.verdict_ = words_of_time(distinct, self.angle_)
        return self


def _draw(
    latents: NoisyLatents, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Samples of a frame (n, S, Z), their normal log-likelihood and log density, (n, S) each."""
    mean, gain = latents.value, latents.gain
    if gain is None:
        raise ValueError("posterior covariances are needed")
    identity = torch.eye(mean.shape[1], dtype=mean.dtype, device=mean.device)
    # The likelihood is the posterior over the prior: precision S⁻¹ - 1, information S⁻¹ m.
    precision = torch.linalg.inv(identity - gain)
    factor = torch.linalg.cholesky(identity - gain)
    noise = torch.randn(len(mean), count, mean.shape[1], generator=generator, dtype=mean.dtype)
    noise = noise.to(mean.device)
    samples = mean[:, None] + _WIDEN * noise @ factor.mT
    information = (precision @ mean[:, :, None])[:, None, :, 0]
    quadratic = torch.einsum("nsi,nij,nsj->ns", samples, precision - identity, samples)
    likelihood = (information * samples).sum(-1) - 0.5 * quadratic
    return samples, likelihood, -0.5 * noise.square().sum(-1)


def _search(steps: Tensor, base: Tensor, seed: int) -> Tensor:
    """Axes of the largest evidence from several starts."""
    mean = (base.softmax(1)[:, :, None] * steps).sum(1)
    white, whiten = whitened(mean - mean.mean(0))
    some = steps[:_TRIAL_PAIRS], base[:_TRIAL_PAIRS]
    found = [_climb(start @ whiten * math.sqrt(2), *some) for start in _starts(white, seed)]
    best = max(found, key=lambda axes: float(_evidence(axes, steps, base).mean()))
    return _climb(best, steps, base)


def _starts(white: Tensor, seed: int) -> list[Tensor]:
    """Orthogonal starts: the closed form's axes, and random ones."""
    generator = torch.Generator().manual_seed(seed)
    width = white.shape[1]
    starts = [least_normal(white, seed=seed)]
    for _ in range(_STARTS - 1 if width > 1 else 0):
        start = torch.randn(width, width, generator=generator, dtype=white.dtype)
        starts.append(torch.linalg.qr(start)[0].to(white.device))
    return starts


def _evidence(axes: Tensor, steps: Tensor, base: Tensor) -> Tensor:
    """Log evidence of each pair, (n,)."""
    laplace = torch.linalg.slogdet(axes)[1] - (steps @ axes.T).abs().sum(-1)
    return torch.logsumexp(base + laplace, 1)


def _climb(start: Tensor, steps: Tensor, base: Tensor) -> Tensor:
    """Axes of the largest evidence next to a start."""
    axes = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([axes], max_iter=_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = -_evidence(axes, steps, base).mean()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    return axes.detach()


def _gradients(axes: Tensor, steps: Tensor, base: Tensor) -> Tensor:
    """Gradient of each pair's evidence, (n, Z²)."""
    along = steps @ axes.T
    share = (base - along.abs().sum(-1)).softmax(1)
    pull = torch.einsum("ns,nsi,nsj->nij", share, along.sign(), steps)
    return (torch.linalg.inv(axes).T - pull).flatten(1)


def _resampled(axes: Tensor, steps: Tensor, base: Tensor) -> Tensor:
    """Axes of resampled pairs, by one step of Newton's method, (R, Z, Z)."""
    gradients = _gradients(axes, steps, base)
    # By differences: where steps are normal no axes are better than others, and the curvature is
    # small, which the products of the gradients would not show.
    shifts = _SHIFT * axes.norm() * torch.eye(axes.numel(), dtype=axes.dtype, device=axes.device)
    ends = torch.stack(
        [
            _gradients(axes + shift.view_as(axes), steps, base).mean(0)
            for shift in torch.cat([shifts, -shifts])
        ]
    )
    curvature = (ends[len(shifts) :] - ends[: len(shifts)]) / (2 * shifts[0, 0])
    inverse = torch.linalg.inv(0.5 * (curvature + curvature.T))
    moves = [
        inverse @ (gradients.T @ (weight.to(gradients) - 1)) / len(gradients)
        for weight in bootstrap_weights(len(gradients))
    ]
    return axes + torch.stack(moves).unflatten(1, axes.shape)


def _held_out(
    axes: Tensor, steps: Tensor, base: Tensor, spread: Tensor
) -> tuple[Orientation, Tensor]:
    """Judges the axes of each half of the pairs on the other half, and measures their angles."""
    found, halves = [], []
    even, odd = slice(0, None, 2), slice(1, None, 2)
    for seed, (fitted, judged) in enumerate(((even, odd), (odd, even))):
        half = _search(steps[fitted], base[fitted], seed)
        half = half[match_axes(half[None], axes, spread)[0]]
        found.append(_planes(half, steps[judged], base[judged]))
        halves.append(half)
    return together(*found), axis_angles(halves[0][None], halves[1], spread)[0]


def _planes(axes: Tensor, steps: Tensor, base: Tensor) -> Orientation:
    """Evidence for each two axes against those at 45° between them."""
    width = len(axes)
    contrast, error = axes.new_zeros(width, width), axes.new_zeros(width, width)
    here = _evidence(axes, steps, base)
    for i in range(width):
        for j in range(i):
            between = axes.clone()
            between[i] = (axes[i] + axes[j]) * math.sqrt(0.5)
            between[j] = (axes[i] - axes[j]) * math.sqrt(0.5)
            gain = here - _evidence(between, steps, base)
            contrast[i, j] = contrast[j, i] = gain.mean()
            error[i, j] = error[j, i] = gain.std() / math.sqrt(len(gain))
    return Orientation(contrast, error, torch.zeros_like(error))
