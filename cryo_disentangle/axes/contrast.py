"""Rotations that make whitened samples as far from normal as can be, and whether there is one."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.axes.linear import bootstrap_weights
from cryo_disentangle.unmixing import fourth_cumulants, joint_diagonalizer, significance, whitener

__all__ = [
    "Orientation",
    "least_normal",
    "orientation",
    "refine",
    "resampled",
    "together",
    "turned_to",
    "whitened",
]

# E exp(-y²/2) of a standard normal y.
_NORMAL = math.sqrt(0.5)
_STARTS = 8
# Rows that choose between starts; all of them refine the chosen one.
_TRIAL_ROWS = 20_000
# Rows of a resample; the angles of more are smaller by the root.
_RESAMPLED_ROWS = 30_000


class Orientation(NamedTuple):
    """Whether samples have a direction of their own in the plane of each two axes.

    Attributes:
        contrast: How much farther from normal samples are along the two axes than at 45° to them,
            beyond what normal ones with the same noise are, shape (Z, Z).
        standard_error: Of the contrast, shape (Z, Z).
        chance: Size of what has been subtracted for the noise, shape (Z, Z).
    """

    contrast: Tensor
    standard_error: Tensor
    chance: Tensor

    def distinct(self, smallest_effect: float) -> Tensor:
        """Returns which contrasts are clear.

        Posteriors know the noise in part: where nothing moved they predicted a half to two thirds
        of its contrast. So as much again as has been subtracted for it is required.

        Args:
            smallest_effect: Contrasts up to this count as none, beyond the sampling error.

        Returns:
            Shape (Z, Z), bool.
        """
        width = len(self.contrast)
        needed = significance(width * (width - 1) // 2) * self.standard_error + smallest_effect
        return self.contrast > needed + self.chance


def together(one: Orientation, other: Orientation) -> Orientation:
    """Joins what two halves of the samples show.

    Args:
        one: Of one half.
        other: Of the other.

    Returns:
        The mean contrast and its error.
    """
    error = 0.5 * (one.standard_error.square() + other.standard_error.square()).sqrt()
    contrast, chance = 0.5 * (one.contrast + other.contrast), 0.5 * (one.chance + other.chance)
    return Orientation(contrast, error, chance)


def whitened(samples: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Samples of unit covariance, and the map that makes them.

    Args:
        samples: Of zero mean, shape (N, Z).
        weight: Of each, shape (N,), of sum N; None weighs all alike.

    Returns:
        Whitened samples (N, Z), and the symmetric map (Z, Z).
    """
    scaled = samples if weight is None else samples * weight[:, None]
    white = whitener(scaled.T @ samples / len(samples))
    return samples @ white.T, white


def least_normal(white: Tensor, noise: Tensor | None = None, seed: int = 0) -> Tensor:
    """Finds the orthogonal axes along which whitened samples are farthest from normal.

    Maximises Σ_i (E G(y_i) - E G(ν))² with G = exp(-y²/2) and ν normal, by FastICA's symmetric
    iteration from the axes of the fourth cumulants and from random ones.

    Args:
        white: Shape (N, Z), of unit covariance.
        noise: As in `refine`.
        seed: Of the starts.

    Returns:
        Rows are the axes, shape (Z, Z).

    References:
        Hyvärinen 1999, Fast and robust fixed-point algorithms for independent component analysis,
        Eqs. 20 and 45 (the nonlinearity for sparse samples that noise blurs).
    """
    width = white.shape[1]
    generator = torch.Generator().manual_seed(seed)
    trial = white[torch.randperm(len(white), generator=generator)[:_TRIAL_ROWS].to(white.device)]
    starts = [joint_diagonalizer(fourth_cumulants(trial))]
    for _ in range(_STARTS - 1 if width > 1 else 0):
        start = torch.randn(width, width, generator=generator, dtype=white.dtype)
        starts.append(torch.linalg.qr(start)[0].to(white.device))
    found = [refine(trial, start, noise=noise) for start in starts]
    gains = [float((_bump(trial @ axes.T).mean(0) - _NORMAL).square().sum()) for axes in found]
    return refine(white, found[gains.index(max(gains))], noise=noise)


def refine(
    white: Tensor,
    axes: Tensor,
    weight: Tensor | None = None,
    noise: Tensor | None = None,
    iterations: int = 100,
) -> Tensor:
    """Goes from axes to the nearest ones along which samples are farthest from normal.

    Args:
        white: Shape (N, Z), of unit covariance.
        axes: Orthogonal start, shape (Z, Z).
        weight: Of each sample, shape (N,), of sum N; None weighs all alike.
        noise: Covariance of normal noise over that of ``white`` without it, shape (Z, Z), where
            that is the unit covariance; None for exact samples.
        iterations: Of FastICA, at most.

    Returns:
        Rows are the axes, shape (Z, Z).

    References:
        Hyvärinen 1999, Fast independent component analysis with noisy data using Gaussian moments.
    """
    for _ in range(iterations):
        along = white @ axes.T
        bump = _bump(along)
        slope = (1 - along.square()) * bump
        pull = along * bump
        if weight is not None:
            slope, pull = slope * weight[:, None], pull * weight[:, None]
        shrunk = axes if noise is None else axes + axes @ noise
        new = turned_to(pull.T @ white / len(white) - slope.mean(0)[:, None] * shrunk)
        change = 1 - (new * axes).sum(1).abs().min()
        axes = new
        if float(change) < 1e-10:
            break
    return axes


def turned_to(matrix: Tensor) -> Tensor:
    """Finds the orthogonal matrix nearest to a matrix.

    Args:
        matrix: Shape (Z, Z).

    Returns:
        Shape (Z, Z).
    """
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def resampled(samples: Tensor, axes: Tensor) -> tuple[Tensor, float]:
    """Finds how axes of least normal samples move when samples are drawn again.

    Args:
        samples: Of zero mean, shape (N, Z).
        axes: Found from them, shape (Z, Z).

    Returns:
        Axes of resamples, shape (R, Z, Z); and by what their angles are to be multiplied, since
        resamples of very many rows are of some of them.
    """
    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    drawn = samples[rows[:_RESAMPLED_ROWS].to(samples.device)]
    found = []
    for weight in bootstrap_weights(len(drawn)):
        weight = weight.to(samples.device)
        white, whiten = whitened(drawn, weight)
        start = turned_to(axes @ torch.linalg.inv(whiten))
        found.append(refine(white, start, weight, iterations=20) @ whiten)
    return torch.stack(found), (len(drawn) / len(samples)) ** 0.5


def orientation(along: Tensor, variance: Tensor | None) -> Orientation:
    """Tests whether samples distinguish two axes from others in their plane.

    Normal samples, and those whose distribution is round, look alike in all directions. Samples
    that were not used to find the axes keep the choice from flattering the finding.

    Args:
        along: Samples in the coordinates of the axes, shape (N, Z).
        variance: Covariance that each sample would have were it normal and noise as it is, in the
            same coordinates, shape (N, Z, Z); None where noise is unknown.

    Returns:
        The finding for each pair.
    """
    along = along - along.mean(0)
    scale = along.square().mean(0).sqrt()
    along = along / scale
    width = along.shape[1]
    contrast, error, noise = (along.new_zeros(width, width) for _ in range(3))
    expected = None if variance is None else variance / (scale[:, None] * scale)
    for i in range(width):
        for j in range(i):
            value = _plane(along[:, i], along[:, j])
            chance = 0.0 if expected is None else _chance(expected, i, j, along)
            contrast[i, j] = contrast[j, i] = value.mean() - chance
            error[i, j] = error[j, i] = value.std() / math.sqrt(len(value))
            noise[i, j] = noise[j, i] = abs(chance)
    return Orientation(contrast, error, noise)


def _bump(y: Tensor) -> Tensor:
    return torch.exp(-0.5 * y.square())


def _signs(a: Tensor, b: Tensor) -> tuple[float, float]:
    """Whether each is sparser than normal (1) or blunter (-1)."""
    one, other = ((float(_bump(y).mean()) > _NORMAL) * 2.0 - 1 for y in (a, b))
    return one, other


def _plane(a: Tensor, b: Tensor) -> Tensor:
    """Distance from normal of each sample along two axes, less that at 45° to them, (N,)."""
    one, other = _signs(a, b)
    between = _bump((a + b) * _NORMAL) + _bump((a - b) * _NORMAL)
    return one * _bump(a) + other * _bump(b) - 0.5 * (one + other) * between


def _chance(variance: Tensor, i: int, j: int, along: Tensor) -> float:
    """What `_plane` is on average of normal samples, whose bump is (1 + variance)^-½."""
    one, other = _signs(along[:, i], along[:, j])
    a, b, both = variance[:, i, i], variance[:, j, j], variance[:, i, j]
    half = 0.5 * (a + b)
    between = (1 + half + both).rsqrt() + (1 + half - both).rsqrt()
    value = one * (1 + a).rsqrt() + other * (1 + b).rsqrt() - 0.5 * (one + other) * between
    return float(value.mean())
