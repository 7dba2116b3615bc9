"""Invertible mixes of true factors into hinge coordinates.

Where each factor is a hinge angle, variational autoencoders find the factors by themselves, for the
Jacobian's columns are nearly orthogonal; only mixed factors tell methods apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

__all__ = ["LinearMixing", "Mixing", "ShearMixing"]


class Mixing(Protocol):
    """An invertible map of factors to hinge coordinates."""

    @property
    def dim(self) -> int:
        """Number of factors K."""
        ...

    def mix(self, factors: Tensor) -> Tensor:
        """Maps true factors to hinge coordinates.

        Args:
            factors: Shape (B, K).

        Returns:
            Hinge coordinates, shape (B, K).
        """
        ...

    def unmix(self, hinges: Tensor) -> Tensor:
        """Maps hinge coordinates to true factors.

        Args:
            hinges: Shape (B, K).

        Returns:
            True factors, shape (B, K).
        """
        ...


def _orthogonal(dim: int, angle_deg: float) -> Tensor:
    """Turns in each plane of two neighbouring axes by one angle."""
    matrix = np.eye(dim)
    cos, sin = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    for first in range(dim - 1):
        turn = np.eye(dim)
        turn[first : first + 2, first : first + 2] = [[cos, -sin], [sin, cos]]
        matrix = turn @ matrix
    return torch.from_numpy(matrix)


@dataclass(frozen=True)
class LinearMixing:
    """A fixed rotation of the factors, shrunk so that their cube stays inside itself.

    hinges = centre + Q (factors - centre) / max_i Σ_j |Q_ij|, with Q the product of rotations by
    one angle in each plane of two neighbouring axes. At 45° and two factors the hinges are half the
    sum and half the difference.

    Args:
        dim: Number of factors K.
        angle_deg: Angle in degrees.
        centre: Centre of the range of factors and of hinges.
    """

    dim: int = 2
    angle_deg: float = 45.0
    centre: float = 0.0

    @cached_property
    def matrix(self) -> Tensor:
        """The shrunk rotation, shape (K, K), float64."""
        rotation = _orthogonal(self.dim, self.angle_deg)
        return rotation / rotation.abs().sum(1).max()

    def mix(self, factors: Tensor) -> Tensor:
        """Maps true factors (B, K) to hinge coordinates (B, K)."""
        return self.centre + (factors - self.centre) @ self.matrix.to(factors).T

    def unmix(self, hinges: Tensor) -> Tensor:
        """Maps hinge coordinates (B, K) to true factors (B, K)."""
        return self.centre + (hinges - self.centre) @ torch.linalg.inv(self.matrix).to(hinges).T


@dataclass(frozen=True)
class ShearMixing:
    """A smooth nonlinear mix: a rotation, and then each coordinate bent by the one before.

    With u the rotated coordinates in units of ``half_range``, as `LinearMixing` makes them,
    hinge_k = (u_k + strength sin(π u_{k-1}) / π) / (1 + strength / π): a triangular map of constant
    Jacobian determinant, with a closed inverse.

    Args:
        dim: Number of factors K.
        angle_deg: Angle of the rotation in degrees.
        strength: Size of the bend; 0 is linear. At 1 and 45° a factor moves one hinge alone at the
            centre of the range, and mixes there no more.
        centre: Centre of the range of factors and of hinges.
        half_range: Half the length of that range.

    Raises:
        ValueError: If ``half_range`` is not positive.
    """

    dim: int = 2
    angle_deg: float = 45.0
    strength: float = 0.5
    centre: float = 0.0
    half_range: float = 1.0

    def __post_init__(self) -> None:
        if not self.half_range > 0:
            raise ValueError(f"half_range must be positive, found {self.half_range}")

    @property
    def _rotation(self) -> LinearMixing:
        """The linear part, in units of the half range."""
        return LinearMixing(self.dim, self.angle_deg)

    @property
    def _shrink(self) -> float:
        """Keeps the bent coordinates inside the range."""
        return 1 + abs(self.strength) / math.pi

    def mix(self, factors: Tensor) -> Tensor:
        """Maps true factors (B, K) to hinge coordinates (B, K)."""
        rotated = self._rotation.mix((factors - self.centre) / self.half_range)
        bend = self.strength / math.pi * torch.sin(math.pi * rotated[:, :-1])
        bent = torch.cat([rotated[:, :1], rotated[:, 1:] + bend], dim=1)
        return self.centre + self.half_range * bent / self._shrink

    def unmix(self, hinges: Tensor) -> Tensor:
        """Maps hinge coordinates (B, K) to true factors (B, K)."""
        bent = (hinges - self.centre) / self.half_range * self._shrink
        columns = [bent[:, 0]]
        for k in range(1, self.dim):
            bend = self.strength / math.pi * torch.sin(math.pi * columns[-1])
            columns.append(bent[:, k] - bend)
        return self.centre + self.half_range * self._rotation.unmix(torch.stack(columns, dim=1))
