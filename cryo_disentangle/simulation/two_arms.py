"""A body with arms on hinges: the smallest molecule with known factors of variation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cryo_disentangle.simulation.molecule import GaussianMolecule, Hinge, move_hinges

__all__ = ["TwoArms"]

Vector = tuple[float, float, float]

# No two arms in one plane with their hinges: the molecule has no mirror image of itself.
_DIRECTIONS: tuple[Vector, ...] = (
    (1.0, 0.25, 0.15),
    (-0.85, 0.45, -0.3),
    (0.1, -0.9, 0.45),
    (-0.2, 0.3, 0.95),
    (0.3, -0.4, -0.85),
)
_AXES: tuple[Vector, ...] = (
    (-0.1, 0.2, 1.0),
    (0.45, 0.9, 0.1),
    (1.0, 0.15, 0.1),
    (0.9, -0.4, 0.3),
    (0.1, 0.95, -0.4),
)
# Arms of one length could be exchanged by turning the molecule, and would then not be identified.
_LENGTHS = (40.0, 30.0, 35.0, 26.0, 32.0)


def _spiral(count: int, semi_axes: Vector) -> Tensor:
    """Spreads points evenly through an ellipsoid, the same each time."""
    number = torch.arange(count, dtype=torch.float64) + 0.5
    radius = (number / count) ** (1 / 3)
    height = 1 - 2 * torch.remainder(number * math.sqrt(2), 1)
    azimuth = number * math.pi * (3 - math.sqrt(5))
    ring = (1 - height.square()).sqrt()
    sphere = torch.stack([ring * azimuth.cos(), ring * azimuth.sin(), height], dim=1)
    return (radius[:, None] * sphere * torch.tensor(semi_axes, dtype=torch.float64)).float()


@dataclass(frozen=True)
class TwoArms(GaussianMolecule):
    """A fixed body and straight arms, each turning about a hinge where it meets the body.

    Coordinate k in [-1, 1] turns arm k by ``max_angle_deg`` times the coordinate. The defaults give
    60 Gaussians, 20 in the body and 20 in each of two arms of unequal length.

    Args:
        lengths: Lengths of the arms in Å; their number, 2 to 5, is the number of coordinates.
        directions: Direction of each arm at coordinate 0; None takes built-in ones.
        axes: Hinge axis of each arm; None takes built-in ones.
        max_angle_deg: Angle in degrees at coordinate 1.
        body_radii: Semi-axes of the ellipsoidal body in Å.
        gaussians_per_part: Number of Gaussians in each arm.
        body_gaussians: Number of Gaussians in the body; None is as many as in an arm. Where poses
            are to be inferred, a heavy body distinguishes a rotation of the whole from arms that
            turn together.
        sigma_angstrom: Standard deviation of every Gaussian in Å.

    Raises:
        ValueError: If the number of arms is not 2 to 5, a list has another number of entries, a
            direction or an axis has zero length, or a size is not positive.
    """

    lengths: Sequence[float] = _LENGTHS[:2]
    directions: Sequence[Vector] | None = None
    axes: Sequence[Vector] | None = None
    max_angle_deg: float = 60.0
    body_radii: Vector = (14.0, 11.0, 8.0)
    gaussians_per_part: int = 20
    sigma_angstrom: float = 4.0
    body_gaussians: int | None = None

    def __post_init__(self) -> None:
        arms = len(self.lengths)
        if not 2 <= arms <= len(_DIRECTIONS):
            raise ValueError(f"arms: 2 to {len(_DIRECTIONS)} lengths expected, found {arms}")
        for name in ("directions", "axes"):
            given = getattr(self, name)
            if given is not None and len(given) != arms:
                raise ValueError(
                    f"{name}: one for each of {arms} arms expected, found {len(given)}"
                )
        counts = (self.gaussians_per_part, self._body)
        sizes = [*self.lengths, *self.body_radii, *counts, self.sigma_angstrom]
        if min(sizes) <= 0:
            raise ValueError(
                f"lengths, radii, sigma and counts must be positive, found {min(sizes)}"
            )
        if self.directions is not None and min(math.hypot(*d) for d in self.directions) == 0:
            raise ValueError("directions: an arm's direction has zero length")
        # Hinges are made now, so that a wrong axis is told at once.
        _ = self.hinges

    @property
    def _body(self) -> int:
        """Number of Gaussians in the body."""
        return self.gaussians_per_part if self.body_gaussians is None else self.body_gaussians

    @property
    def dim(self) -> int:
        """Number of arms."""
        return len(self.lengths)

    @property
    def sigma(self) -> float:
        """Standard deviation of every Gaussian in Å."""
        return self.sigma_angstrom

    @cached_property
    def _roots(self) -> list[tuple[Tensor, Tensor]]:
        """Where each arm leaves the body, and its unit direction."""
        radii = torch.tensor(self.body_radii, dtype=torch.float32)
        roots = []
        for direction in (self.directions or _DIRECTIONS)[: self.dim]:
            vector = torch.tensor(direction, dtype=torch.float32)
            unit = torch.nn.functional.normalize(vector, dim=0)
            roots.append((unit / (unit / radii).norm(), unit))
        return roots

    @cached_property
    def hinges(self) -> tuple[Hinge, ...]:
        """One hinge for each arm, through the point where it leaves the body."""
        axes = (self.axes or _AXES)[: self.dim]
        return tuple(
            Hinge((a[0], a[1], a[2]), (float(r[0]), float(r[1]), float(r[2])), self.max_angle_deg)
            for a, (r, _) in zip(axes, self._roots, strict=True)
        )

    @cached_property
    def _reference(self) -> Tensor:
        """Coordinates at conformation 0."""
        steps = (torch.arange(self.gaussians_per_part) + 0.5) / self.gaussians_per_part
        arms = [
            root + length * steps[:, None] * unit
            for length, (root, unit) in zip(self.lengths, self._roots, strict=True)
        ]
        return torch.cat([_spiral(self._body, self.body_radii), *arms])

    @cached_property
    def weights(self) -> Tensor:
        """One for every Gaussian, shape (N,)."""
        return torch.ones(len(self._reference))

    @cached_property
    def _membership(self) -> Tensor:
        """Which Gaussians belong to which arm, shape (K, N)."""
        arms = torch.arange(self.dim).repeat_interleave(self.gaussians_per_part)
        part = torch.cat([arms.new_full((self._body,), -1), arms])
        return (part == torch.arange(self.dim)[:, None]).float()

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians.

        Args:
            conformation: Hinge coordinates, 1 is ``max_angle_deg``, shape (B, K).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, N, 3).
        """
        return move_hinges(self._reference, conformation, self.hinges, self._membership)
