"""Directions from which particles are seen, and their shifts in the image."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cryo_disentangle.geometry import euler_zyz_to_rotation, in_plane_rotation
from cryo_disentangle.geometry.rotations import check_rotations, quaternion_to_rotation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.tables import choose_rows, read_rotations, read_shifts

__all__ = [
    "ConcentratedViews",
    "InPlaneViews",
    "NormalShifts",
    "Shifts",
    "ShiftsFromFile",
    "UniformShifts",
    "UniformViews",
    "Views",
    "ViewsFromFile",
]


class Views(Protocol):
    """A distribution of rotations."""

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations.

        Args:
            draws: Random numbers of B particles, which these alone determine.

        Returns:
            Rotations as in `Pose`, shape (B, 3, 3), float64.
        """
        ...


class Shifts(Protocol):
    """A distribution of in-plane translations."""

    def translations(self, draws: Draws, box_size: int) -> Tensor:
        """Draws translations.

        Args:
            draws: Random numbers of B particles, which these alone determine.
            box_size: Image side in pixels.

        Returns:
            Translations as in `Pose`, (x, y) in pixels, shape (B, 2), float64.
        """
        ...


@dataclass(frozen=True)
class UniformViews:
    """Every rotation equally likely (Haar measure on SO(3))."""

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations, by Shoemake 1992 (three uniform numbers to a unit quaternion)."""
        u = draws.uniform("views", 3)
        first, second = 2 * math.pi * u[:, 1], 2 * math.pi * u[:, 2]
        low, high = (1 - u[:, 0]).sqrt(), u[:, 0].sqrt()
        quaternion = torch.stack(
            [low * first.sin(), low * first.cos(), high * second.sin(), high * second.cos()], dim=1
        )
        return quaternion_to_rotation(quaternion)


@dataclass(frozen=True)
class InPlaneViews:
    """One view, turned in the image plane only.

    Args:
        angles_deg: RELION's (rot, tilt, psi) of the view in degrees.
        max_angle_deg: In-plane angles are uniform from minus to plus this, in degrees.

    Raises:
        ValueError: If the largest angle is not in (0, 180].
    """

    angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    max_angle_deg: float = 180.0

    def __post_init__(self) -> None:
        if not 0 < self.max_angle_deg <= 180:
            raise ValueError(f"max_angle_deg must be in (0, 180], found {self.max_angle_deg}")

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations (B, 3, 3)."""
        view = euler_zyz_to_rotation(torch.tensor(self.angles_deg, dtype=torch.float64))
        angle = (2 * draws.uniform("views", 1)[:, 0] - 1) * math.radians(self.max_angle_deg)
        return in_plane_rotation(angle) @ view


@dataclass(frozen=True)
class ConcentratedViews:
    """Viewing directions about a preferred one, turned in plane uniformly.

    The viewing direction v (the beam in model coordinates, the last row of the rotation) has the
    von Mises-Fisher density ∝ exp(κ mean·v) on the sphere.

    Args:
        concentration: κ, positive; large is a narrow cone.
        mean: Preferred direction (x, y, z) in model coordinates.

    Raises:
        ValueError: If κ is not positive or the direction has zero length.

    References:
        Fisher 1953, Dispersion on a sphere; quantile function in closed form by Jakob 2012.
    """

    concentration: float
    mean: tuple[float, float, float] = (0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if not self.concentration > 0:
            raise ValueError(f"concentration must be positive, found {self.concentration}")
        if not math.hypot(*self.mean) > 0:
            raise ValueError("the mean viewing direction has zero length")

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations (B, 3, 3)."""
        u = draws.uniform("views", 3)
        kappa = self.concentration
        height = 1 + torch.log(u[:, 0] + (1 - u[:, 0]) * math.exp(-2 * kappa)) / kappa
        mean = torch.nn.functional.normalize(torch.tensor(self.mean, dtype=torch.float64), dim=0)
        rot, tilt = torch.atan2(mean[1], mean[0]), mean[2].clamp(-1, 1).acos()
        mean_view = euler_zyz_to_rotation(torch.rad2deg(torch.stack([rot, tilt, 0 * rot])))
        azimuth, psi = 2 * math.pi * u[:, 1], 2 * math.pi * u[:, 2]
        angles = torch.stack([azimuth, height.clamp(-1, 1).acos(), psi], dim=1)
        return euler_zyz_to_rotation(torch.rad2deg(angles)) @ mean_view


@dataclass(frozen=True)
class ViewsFromFile:
    """Rotations drawn from the rows of a file, with replacement.

    With `ShiftsFromFile` and `ContrastTransferFromFile` over files with as many rows, a particle
    takes the same row of each.

    Args:
        file: ``poses.pkl``, a STAR file, a cryoSPARC ``.cs``, or an ``.npz``.
        key: In an ``.npz``, the array of matrices (N, 3, 3) or of quaternions (N, 4), scalar last,
            of the matrices themselves.
    """

    file: Path
    key: str = "rotation"

    @cached_property
    def table(self) -> Tensor:
        """All rotations of the file, shape (N, 3, 3)."""
        table = read_rotations(Path(self.file), self.key)
        check_rotations(table, str(self.file))
        return table

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations (B, 3, 3)."""
        return self.table[choose_rows(draws, len(self.table))].double()


@dataclass(frozen=True)
class NormalShifts:
    """Normally distributed shifts.

    Args:
        std_px: Standard deviation in pixels of each of x and y.

    Raises:
        ValueError: If it is negative.
    """

    std_px: float

    def __post_init__(self) -> None:
        if self.std_px < 0:
            raise ValueError(f"std_px must not be negative, found {self.std_px}")

    def translations(self, draws: Draws, box_size: int) -> Tensor:  # noqa: ARG002
        """Draws translations (B, 2) in pixels."""
        return self.std_px * draws.normal("shifts", 2)


@dataclass(frozen=True)
class UniformShifts:
    """Shifts uniform on a square.

    Args:
        max_px: Largest shift in pixels in each of x and y.

    Raises:
        ValueError: If it is negative.
    """

    max_px: float

    def __post_init__(self) -> None:
        if self.max_px < 0:
            raise ValueError(f"max_px must not be negative, found {self.max_px}")

    def translations(self, draws: Draws, box_size: int) -> Tensor:  # noqa: ARG002
        """Draws translations (B, 2) in pixels."""
        return self.max_px * (2 * draws.uniform("shifts", 2) - 1)


@dataclass(frozen=True)
class ShiftsFromFile:
    """Shifts drawn from the rows of a file, as a fraction of the box.

    Args:
        file: ``poses.pkl``, a STAR file, a cryoSPARC ``.cs``, or an ``.npz``.
        key: In an ``.npz``, the array (N, 2) of fractions of the box.
    """

    file: Path
    key: str = "translation"

    @cached_property
    def table(self) -> Tensor:
        """All shifts of the file as fractions of the box, shape (N, 2)."""
        return read_shifts(Path(self.file), self.key)

    def translations(self, draws: Draws, box_size: int) -> Tensor:
        """Draws translations (B, 2) in pixels."""
        return self.table[choose_rows(draws, len(self.table))].double() * box_size
