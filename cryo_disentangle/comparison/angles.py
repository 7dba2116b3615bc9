"""Angles between the axes of two latent spaces, noise apart, and what they are by chance."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._least_squares import whiten
from cryo_disentangle.metrics.functional.codes import standardize
from cryo_disentangle.metrics.functional.correlation import matching

__all__ = ["SpacePair", "chance_angles"]


class SpacePair(NamedTuple):
    """Two latent spaces, each by uncorrelated directions of unit variance.

    Attributes:
        first: Axes of the first in its directions, shape (P, K); columns of length 1, 0 where an
            axis is constant.
        shared: Correlation of the directions of both, shape (P, Q).
        second: Axes of the second in its directions, shape (Q, L).
        particles: Number of particles.
    """

    first: Tensor
    shared: Tensor
    second: Tensor
    particles: int

    @classmethod
    def of(cls, a: Tensor, b: Tensor) -> SpacePair:
        """Describes two spaces.

        Args:
            a: Latents, shape (N, K), float64.
            b: Latents of the same particles, shape (N, L).

        Returns:
            The pair.
        """
        x, y = standardize(a), standardize(b)
        u, v = x @ whiten(x), y @ whiten(y)
        count = len(a)
        return cls(u.T @ x / count, u.T @ v / count, v.T @ y / count, count)

    def correlation(self) -> Tensor:
        """Computes Pearson correlations of the axes, shape (K, L)."""
        return self.first.mT @ self.shared @ self.second

    def reach(self) -> tuple[Tensor, Tensor]:
        """Computes multiple correlations of each axis with all of the other space.

        Returns:
            Shapes (K, 1) and (1, L), adjusted for what chance explains.
        """
        forth = (self.shared.mT @ self.first).square().sum(-2)[..., :, None]
        back = (self.shared @ self.second).square().sum(-2)[..., None, :]
        sides = (forth, self.shared.shape[1]), (back, self.shared.shape[0])
        found = (_adjusted(share, self.particles, width).sqrt() for share, width in sides)
        return next(found), next(found)

    def angles(self) -> Tensor:
        """Computes angles between axes of the two spaces.

        The cosine is the absolute correlation over the smaller of what noise, and what the other
        space lacks, leave attainable: over each axis's multiple correlation, the smaller quotient.

        Returns:
            Degrees, shape (K, L); 90 where nothing is attainable.
        """
        forth, back = self.reach()
        attainable = torch.maximum(forth, back)
        cosine = self.correlation().abs() / attainable.clamp(min=1e-12)
        return torch.rad2deg(torch.arccos(cosine.clamp(max=1)))


def _adjusted(share: Tensor, count: int, width: int) -> Tensor:
    """Explained share of variance without what ``width`` unrelated columns would explain."""
    return (1 - (1 - share) * (count - 1) / max(count - width - 1, 1)).clamp(0, 1)


def chance_angles(pair: SpacePair, turns: int, seed: int) -> Tensor | None:
    """Draws the angles that matched axes would have if those of one space were turned at random.

    The larger space's axes become orthogonal directions of unit variance, turned by rotations of
    the uniform (Haar) distribution, and are matched to the others anew. That is what a model does
    whose prior any rotation leaves as it is.

    Args:
        pair: Two spaces.
        turns: Number of rotations.
        seed: Of the rotations.

    Returns:
        Degrees, shape (turns, K), 90 where an axis has no partner; None where both spaces have one
        direction, which there is no turning.

    References:
        Mezzadri 2007, How to generate random matrices from the classical compact groups.
    """
    width = max(pair.shared.shape)
    if width < 2:
        return None
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(turns, width, width, generator=generator, dtype=pair.shared.dtype)
    turned, upper = torch.linalg.qr(normal)
    turned = turned * upper.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]
    # The first's own axes are kept where there is room to turn the second's about them.
    of_first = pair.shared.shape[0] > pair.shared.shape[1]
    drawn = pair._replace(first=turned) if of_first else pair._replace(second=turned)
    strength, angles = drawn.correlation().abs(), drawn.angles()
    found = torch.full(strength.shape[:2], 90.0, dtype=strength.dtype)
    for number, matrix in enumerate(strength):
        rows, columns = matching(matrix)
        found[number, rows] = angles[number, rows, columns]
    # Turned axes have one law.
    return found[:, :1].expand(-1, pair.first.shape[1]) if of_first else found
