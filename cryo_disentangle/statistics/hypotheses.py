"""Poses that are not known: what an image says of its coefficients under each of many poses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import roma
import torch
from torch import Tensor
from torch.nn import functional as F

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.views import ParticleViews

__all__ = [
    "Hypotheses",
    "HypothesisLikelihood",
    "PoseSearch",
    "hypothesis_likelihood",
]

# Poses are tried out to so many standard deviations.
_EXTENT = 2.6
_FIRST_RADIUS = 4


class Hypotheses(NamedTuple):
    """Errors that poses may have: each of H rotations with each of T shifts.

    Attributes:
        turn: Rotations that go before the pose's own, shape (H, 3, 3).
        shift: Shifts to add to the translation in pixels, shape (T, 2).
    """

    turn: Tensor
    shift: Tensor

    def of_row(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Takes hypotheses by their number among the H · T, rotation by rotation.

        Args:
            number: Shape (B,), int64.

        Returns:
            Rotations (B, 3, 3) and shifts (B, 2).
        """
        return self.turn[number // len(self.shift)], self.shift[number % len(self.shift)]


@dataclass(frozen=True)
class PoseSearch:
    """What is not known of poses, and is to be searched for; 0 and no leave a part out.

    Errors have normal priors about the poses given, but for in-plane angles that are not known.

    Args:
        rotation: Standard deviation of the rotation about each axis in degrees.
        shift: Standard deviation of each coordinate of a translation in pixels.
        in_plane: Whether nothing is known of the angle about the beam.
        radius: Radius in Fourier pixels up to which hypotheses are compared.

    Raises:
        ValueError: If a standard deviation is negative or not finite, or the radius too small.
    """

    rotation: float = 0.0
    shift: float = 0.0
    in_plane: bool = False
    radius: int = 12

    def __post_init__(self) -> None:
        for name in ("rotation", "shift"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a standard deviation, 0 or more, found {value}")
        if self.radius < _FIRST_RADIUS:
            raise ValueError(f"radius must be at least {_FIRST_RADIUS}, found {self.radius}")

    @property
    def wanted(self) -> bool:
        """Whether there is anything to search for."""
        return self.in_plane or self.rotation > 0 or self.shift > 0

    def first_radius(self, box_size: int, last: int) -> int:
        """Finds the radius to begin at, where images are as fine as errors are large.

        Args:
            box_size: Image side D in pixels.
            last: Largest radius in Fourier pixels.

        Returns:
            In Fourier pixels, 4 where in-plane angles are not known.
        """
        turn = max(math.radians(self.rotation), 2 * math.pi / box_size * self.shift)
        first = _FIRST_RADIUS if self.in_plane else round(1 / turn)
        return min(max(first, _FIRST_RADIUS), last)

    def hypotheses(self, angle: float, step: float, reach: float) -> Hypotheses:
        """Lays hypotheses out on lattices about a pose.

        Args:
            angle: Spacing of rotations in radians.
            step: Spacing of shifts in pixels.
            reach: Farthest hypothesis in spacings, where the prior does not end before; in-plane
                angles that are not known go all around.

        Returns:
            The hypotheses, the pose itself among them.
        """
        extent = min(_EXTENT * math.radians(self.rotation), reach * angle)
        if self.in_plane:
            count = math.ceil(2 * math.pi / angle)
            circle = in_plane_rotation(2 * math.pi * torch.arange(count) / count)
            tilt = F.pad(_lattice(angle, extent, 2), (0, 1))
            turn = (roma.rotvec_to_rotmat(tilt)[:, None] @ circle).flatten(0, 1)
        else:
            turn = roma.rotvec_to_rotmat(_lattice(angle, extent, 3))
        return Hypotheses(turn, _lattice(step, min(_EXTENT * self.shift, reach * step), 2))

    def log_prior(self, turn: Tensor, shift: Tensor) -> Tensor:
        """Evaluates the prior of errors of poses.

        Args:
            turn: Rotations from the poses given, shape (..., 3, 3).
            shift: Shifts from them in pixels, of shape (..., 2).

        Returns:
            Logarithm of the density up to a constant, shape (...).
        """
        total = turn.new_zeros(())
        if self.rotation:
            if self.in_plane:
                # The beam's direction moves by the angle between the third rows.
                angle = torch.atan2(turn[..., 2, :2].norm(dim=-1), turn[..., 2, 2])
            else:
                angle = roma.rotmat_to_rotvec(turn).norm(dim=-1)
            total = total - 0.5 * (angle / math.radians(self.rotation)).square()
        if self.shift:
            total = total - 0.5 * (shift / self.shift).square().sum(-1)
        return total


def _lattice(spacing: float, extent: float, axes: int) -> Tensor:
    """Points of a cubic lattice in a ball about the origin, shape (N, axes)."""
    count = int(extent / spacing)
    axis = torch.arange(-count, count + 1) * spacing
    points = torch.cartesian_prod(*[axis] * axes)
    return points[points.norm(dim=1) <= extent + 1e-6]


class HypothesisLikelihood(NamedTuple):
    """Likelihoods of particles' coefficients under each hypothesis.

    Attributes:
        precision: Λ, which shifts do not change, shape (B, H, K, K).
        information: b, shape (B, H, T, K).
        offset: |r|², shape (B, H, T).
    """

    precision: Tensor
    information: Tensor
    offset: Tensor

    def evidence(self) -> Tensor:
        """Integrates standard normal coefficients out.

        Returns:
            log p(image | hypothesis) in nats, up to a constant, shape (B, H, T).
        """
        rank = self.information.shape[3]
        eye = torch.eye(rank).to(self.precision)
        factor = torch.linalg.cholesky(self.precision + eye)
        solved = torch.linalg.solve_triangular(factor, self.information.mT, upper=False)
        log_det = 2 * factor.diagonal(dim1=2, dim2=3).log().sum(2)
        return 0.5 * (solved.square().sum(2) - self.offset - log_det[:, :, None])


def hypothesis_likelihood(
    grid: SliceGrid, paired: Tensor, views: ParticleViews, hypotheses: Hypotheses
) -> HypothesisLikelihood:
    """Compares images with the slices of every hypothesis.

    A rotation needs slices of its own; a shift changes the image alone, so that all shifts of a
    rotation are one product of matrices.

    Args:
        grid: Where volumes lie.
        paired: Mean and K volumes as `pair_nodes` has them, shape (G, 2 K + 2).
        views: Whitened views at the poses given.
        hypotheses: What is tried.

    Returns:
        The same as at poses that were so corrected.
    """
    turned = (hypotheses.turn @ views.rotation[:, None]).flatten(0, 1)
    slices = grid.read(grid.at(turned), paired).unflatten(0, (len(views.rotation), -1))
    slices = (slices * views.transfer[:, None, :, None, None]).flatten(2, 3)
    mean, volumes = slices[..., :1], slices[..., 1:]
    images = _shifted(grid, views.coefficients, hypotheses.shift)
    seen = (images[:, None] @ slices).movedim(3, 0)
    crossed = (mean.mT @ slices)[:, :, 0].movedim(2, 0)
    power = views.coefficients.square().sum((1, 2))
    offset = power[:, None, None] - 2 * seen[0] + crossed[0][..., None]
    information = (seen[1:] - crossed[1:, ..., None]).movedim(0, 3)
    return HypothesisLikelihood(volumes.mT @ volumes, information, offset)


def _shifted(grid: SliceGrid, coefficients: Tensor, shift: Tensor) -> Tensor:
    """Moves images by each of T shifts: (B, P, 2), (T, 2) -> (B, T, 2 P)."""
    phase = (2 * math.pi / grid.box_size) * (shift @ grid.points.T)
    sine = torch.stack([phase.sin(), -phase.sin()], dim=2)
    moved = phase.cos()[..., None] * coefficients[:, None] + sine * coefficients.flip(2)[:, None]
    return moved.flatten(2)
