"""Density of latents behind their uncertainty, by maximum likelihood with a chosen smoothness."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import config_context
from sklearn.isotonic import isotonic_regression

from cryo_disentangle.landscape.likelihood import LatentLikelihood, log_overlap

__all__ = ["LatentDensity", "fit_density"]

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

# Widths tried, over the spread; the rest is what resolution data support.
_WIDTHS = (0.8, 0.55, 0.4, 0.28, 0.2, 0.14)
# Nodes closer than this many widths make sums of normal distributions even to 3e-4.
_SPACING = 1.4
_ITERATIONS, _ITERATIONS_OF_TRIAL = 200, 80
# A plane has more nodes, so that fewer steps and resamples must do.
_ITERATIONS_OF = {1: _ITERATIONS, 2: 100}
_MOST_PARTICLES = {1: 10_000, 2: 3_000}
_RESAMPLES = {1: 50, 2: 20}


@dataclass(frozen=True, eq=False)
class LatentDensity:
    """A mixture of normal distributions about the nodes of a grid.

    Args:
        likelihood: Of the particles that it was fitted to.
        share: Standard deviation of the distributions over the latents' spread.
        nodes: Their means, shape (G, d).
        width: Their standard deviation along each coordinate, shape (d,).
        mass: Share of each, shape (G,), of sum 1.
    """

    likelihood: LatentLikelihood
    share: float
    nodes: FloatArray
    width: FloatArray
    mass: FloatArray

    def kernel(self, points: Array) -> FloatArray:
        """Evaluates each distribution.

        Args:
            points: Shape (P, d).

        Returns:
            Shape (P, G); times shares it is the density.
        """
        scaled = (np.asarray(points)[:, None] - self.nodes) / self.width
        scale = np.prod(self.width) * (2 * np.pi) ** (len(self.width) / 2)
        return np.asarray(np.exp(-0.5 * np.square(scaled).sum(-1)) / scale)

    def resampled(self, seed: int = 0) -> FloatArray:
        """Fits the density to bootstrap resamples of the particles.

        Args:
            seed: Of the resamples.

        Returns:
            Shares of the nodes, shape (B, G).
        """
        generator, count = np.random.default_rng(seed), len(self.likelihood)
        drawn = [
            np.bincount(generator.integers(count, size=count), minlength=count)
            for _ in range(_RESAMPLES[len(self.width)])
        ]
        weights = np.stack(drawn, axis=1).astype(np.float32)
        overlap = _overlap(self.likelihood, self.nodes, self.width)
        return _maximised(overlap, weights, _ITERATIONS_OF[len(self.width)]).T

    def evidence_for_valley(self, low: float, high: float, peaks: Array) -> float:
        """Measures how much better the density explains the particles than one without valleys.

        The other one rises to one of the peaks and falls after it, between two values of the one
        coordinate, and is free elsewhere. It is twice as fine, so that sharp edges need no horns.

        Args:
            low: Lower value.
            high: Upper value.
            peaks: Where it may be highest, shape (M,).

        Returns:
            Twice the difference of the logarithms of likelihoods.
        """
        nodes, width = _grid(self.likelihood, self.share / 2)
        values = nodes[:, 0]
        begin, end = (int(x) for x in np.searchsorted(values, (low, high)))
        logarithm = log_overlap(self.likelihood, nodes, width)
        most = logarithm.max(1, keepdims=True)
        overlap = np.exp(logarithm - most).astype(np.float32)
        # The steps are many and small: their arguments need no looking at.
        with config_context(skip_parameter_validation=True):
            best = max(
                _log_likelihood(
                    overlap, _unimodal(overlap, begin, min(max(at, begin), end - 1), end)
                )
                for at in np.searchsorted(values, peaks).tolist()
            )
        own = log_overlap(self.likelihood, self.nodes, self.width) - most
        return 2 * (_log_likelihood(np.exp(own).astype(np.float32), self.mass) - best)


def fit_density(
    likelihood: LatentLikelihood, seed: int = 0, share: float | None = None
) -> LatentDensity:
    """Finds the density of latents whose likelihoods are known.

    The density is a mixture of equal normal distributions on a grid (a sieve), whose shares
    maximise the likelihood by expectation maximisation. Their width is the largest that predicts
    held-out halves as well as the best one, within one standard error, so that hardly a peak is
    made of noise.

    Args:
        likelihood: Of N particles in one or two coordinates. Of many particles some are taken,
            evenly spread.
        seed: Of the halves.
        share: Width over the latents' spread; None chooses it.

    Returns:
        The density.

    Raises:
        ValueError: If there are fewer than 50 particles, or a coordinate does not vary.

    References:
        Laird 1978, Nonparametric maximum likelihood estimation of a mixing distribution; Geman and
        Hwang 1982, for sieves; Gilles and Singer 2025 (RECOVAR), for densities of latents without
        their uncertainty.
    """
    dim = likelihood.value.shape[1]
    if len(likelihood) < 50 or not (likelihood.spread > 0).all():
        raise ValueError(
            f"a density needs at least 50 particles that vary in each coordinate, found "
            f"{len(likelihood)}"
        )
    count = min(len(likelihood), _MOST_PARTICLES[dim])
    some = likelihood.take(np.linspace(0, len(likelihood) - 1, count).round().astype(np.int64))
    if share is None:
        share = _best_width(some, np.random.default_rng(seed))
    nodes, width = _grid(some, share)
    overlap = _overlap(some, nodes, width)
    ones = np.ones((count, 1), dtype=np.float32)
    mass = _maximised(overlap, ones, _ITERATIONS_OF[dim])[:, 0]
    return LatentDensity(some, share, nodes, width, mass)


def _best_width(likelihood: LatentLikelihood, generator: np.random.Generator) -> float:
    """Width of the distributions, over the spread, by held-out halves."""
    count = len(likelihood)
    halves = np.array_split(generator.permutation(count), 2)
    scores = [_held_out(likelihood, halves, share) for share in _WIDTHS]
    best = int(np.argmax([score.mean() for score in scores]))
    for share, score in zip(_WIDTHS, scores, strict=True):
        lost = scores[best] - score
        if lost.mean() <= lost.std() / count**0.5:
            return share
    return _WIDTHS[best]


def _held_out(likelihood: LatentLikelihood, halves: Sequence[Array], share: float) -> FloatArray:
    """Logarithm of each particle's likelihood under the density of the other half, shape (N,)."""
    nodes, width = _grid(likelihood, share)
    logarithm = log_overlap(likelihood, nodes, width)
    most = logarithm.max(1, keepdims=True)
    overlap = np.exp(logarithm - most).astype(np.float32)
    scores = np.empty(len(likelihood))
    for mine, others in (halves, halves[::-1]):
        weights = np.ones((len(others), 1), dtype=np.float32)
        mass = _maximised(overlap[others], weights, _ITERATIONS_OF_TRIAL)[:, 0]
        scores[mine] = np.log(overlap[mine] @ mass + np.finfo(np.float32).tiny) + most[mine, 0]
    return scores


def _grid(likelihood: LatentLikelihood, share: float) -> tuple[FloatArray, FloatArray]:
    """Nodes that cover the latents, and the width of the distributions about them."""
    width = share * likelihood.spread
    low, high = np.quantile(likelihood.value, (0.001, 0.999), axis=0)
    margin = 0.5 * likelihood.spread
    axes = []
    for k, size in enumerate(width):
        begin, end = float(low[k] - margin[k]), float(high[k] + margin[k])
        axes.append(np.linspace(begin, end, max(2, 1 + round((end - begin) / (_SPACING * size)))))
    nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))
    return nodes, width


def _overlap(
    likelihood: LatentLikelihood, nodes: FloatArray, width: FloatArray
) -> npt.NDArray[np.float32]:
    """Likelihood of each particle at each node, the largest of a particle 1."""
    logarithm = log_overlap(likelihood, nodes, width)
    return np.exp(logarithm - logarithm.max(1, keepdims=True)).astype(np.float32)


def _log_likelihood(overlap: npt.NDArray[np.float32], mass: FloatArray) -> float:
    """Logarithm of the particles' likelihood, up to a constant."""
    return float(np.log(overlap @ mass + np.finfo(np.float32).tiny).sum())


def _unimodal(overlap: npt.NDArray[np.float32], begin: int, peak: int, end: int) -> FloatArray:
    """Shares that rise from one node to a peak and fall to another node, the others free.

    The maximum of a multinomial likelihood in an order is the isotonic regression of its counts.
    """
    transposed = np.ascontiguousarray(overlap.T)
    mass = np.full(overlap.shape[1], 1 / overlap.shape[1])
    for _ in range(_ITERATIONS):
        mixed = overlap @ mass.astype(np.float32) + np.finfo(np.float32).tiny
        mass = mass * (transposed @ (1 / mixed)) / len(overlap)
        # The peak belongs to both sides: it is as high as the higher.
        rising = isotonic_regression(mass[begin : peak + 1])
        falling = isotonic_regression(mass[peak:end], increasing=False)
        top = max(rising[-1], falling[0])
        mass = np.concatenate([mass[:begin], rising[:-1], [top], falling[1:], mass[end:]])
        mass = mass / mass.sum()
    return mass


def _maximised(
    overlap: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    iterations: int,
) -> FloatArray:
    """Shares of the nodes by expectation maximisation, for each column of weights: (G, B)."""
    mass = np.full((overlap.shape[1], weights.shape[1]), 1 / overlap.shape[1], dtype=np.float32)
    total = weights.sum(0)
    transposed = np.ascontiguousarray(overlap.T)
    for _ in range(iterations):
        mixed = overlap @ mass + np.finfo(np.float32).tiny
        mass = mass * (transposed @ (weights / mixed)) / total
    exact = mass.astype(np.float64)
    return np.asarray(exact / exact.sum(0))
