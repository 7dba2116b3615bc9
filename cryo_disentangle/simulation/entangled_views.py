"""Views that depend on the conformation: pose and conformation entangled in the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import roma
import torch
from torch import Tensor

from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.views import ConcentratedViews, UniformViews

__all__ = ["ConformationViews", "EntangledViews"]


@runtime_checkable
class ConformationViews(Protocol):
    """A distribution of rotations for each conformation."""

    def rotations_of(self, draws: Draws, factors: Tensor) -> Tensor:
        """Draws rotations.

        Args:
            draws: Random numbers of B particles, which these alone determine.
            factors: Their true factors, shape (B, K).

        Returns:
            Rotations as in `Pose`, shape (B, 3, 3), float64.
        """
        ...


@dataclass(frozen=True)
class EntangledViews:
    """A preferred view that turns with one factor, as where each state lies on the ice its own way.

    Particles of factor ``low`` are seen about one direction, those of ``high`` about another, the
    rest about directions between; a share of all particles is seen from everywhere.

    Args:
        concentration: κ of the von Mises-Fisher distribution about the preferred view.
        factor: Which factor turns the view.
        low: Value of the factor at the first direction.
        high: Value of the factor at the second.
        angle_deg: Angle between the two directions in degrees.
        mixed: Share of particles whose view does not depend on the conformation.

    Raises:
        ValueError: If κ is not positive, the factor is negative, the range is empty, or the share
            not in [0, 1].
    """

    concentration: float = 10.0
    factor: int = 0
    low: float = 0.0
    high: float = 1.0
    angle_deg: float = 90.0
    mixed: float = 0.0

    def __post_init__(self) -> None:
        _ = self._cone
        if self.factor < 0:
            raise ValueError(f"a factor from 0 on expected, found {self.factor}")
        if not self.low < self.high:
            raise ValueError(f"views need low < high, found low {self.low} and high {self.high}")
        if not 0 <= self.mixed <= 1:
            raise ValueError(f"mixed must be a share from 0 to 1, found {self.mixed}")

    @property
    def _cone(self) -> ConcentratedViews:
        return ConcentratedViews(self.concentration, (1.0, 0.0, 0.0))

    def rotations(self, draws: Draws) -> Tensor:
        """Draws rotations (B, 3, 3) of conformations in the middle of the range."""
        middle = torch.full((len(draws.index), self.factor + 1), (self.low + self.high) / 2)
        return self.rotations_of(draws, middle)

    def rotations_of(self, draws: Draws, factors: Tensor) -> Tensor:
        """Draws rotations (B, 3, 3)."""
        if factors.shape[1] <= self.factor:
            raise ValueError(
                f"views depend on factor {self.factor} (counted from 0), and the simulation has "
                f"{factors.shape[1]}"
            )
        share = (factors[:, self.factor].double() - self.low) / (self.high - self.low)
        angle = share.clamp(0, 1) * math.radians(self.angle_deg)
        about = torch.stack([0 * angle, 0 * angle, -angle], dim=1)
        turned = self._cone.rotations(draws) @ roma.rotvec_to_rotmat(about)
        free = draws.uniform("mixed views", 1)[:, 0] < self.mixed
        return torch.where(free[:, None, None], UniformViews().rotations(draws), turned)
