"""What consensus refinement leaves wrong: small rotations, shifts and the particle's contrast."""

from __future__ import annotations

import math
from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.posterior import Residuals
from cryo_disentangle.statistics.views import ParticleViews, shifted

__all__ = ["Nuisance"]


@dataclass(frozen=True)
class Nuisance:
    """Normal priors of the errors that are integrated out; 0 leaves one out.

    Errors enter an image to first order: an angle times the derivative of the mean's slice. They
    are in units of their standard deviations here, in the order x and y of the shift, rotation
    about the image's x, y and z, contrast.

    Args:
        shift: Standard deviation of each coordinate of a translation's error in pixels.
        rotation: Standard deviation of the rotation about each axis in degrees.
        contrast: Standard deviation of the factor of a particle's contrast about 1.

    Raises:
        ValueError: If one is negative or not finite.
    """

    shift: float = 0.0
    rotation: float = 0.0
    contrast: float = 0.0

    def __post_init__(self) -> None:
        for name in ("shift", "rotation", "contrast"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} must be a standard deviation, 0 or more, found {value}")

    @property
    def count(self) -> int:
        """Number Q of errors a particle."""
        return self.pose_count + (self.contrast > 0)

    @property
    def pose_count(self) -> int:
        """Number of those, the first ones, that are of the pose."""
        return 2 * (self.shift > 0) + 3 * (self.rotation > 0)

    def columns(
        self, grid: SliceGrid, mean: Tensor, rotation: Tensor, seen: Residuals
    ) -> Tensor | None:
        """Derivatives of a whitened image in each error.

        Args:
            grid: Where volumes lie.
            mean: Nodes of the mean as `pair_nodes` has them, shape (G, 2).
            rotation: Shape (B, 3, 3).
            seen: Slices at these rotations.

        Returns:
            Shape (B, M, Q), or None where nothing is integrated out.
        """
        parts: list[Tensor] = []
        if self.shift:
            parts.append(self._shifts(grid, seen))
        if self.rotation:
            turned = _turns(grid, mean, rotation, seen) * math.radians(self.rotation)
            parts.append(turned.flatten(1, 2))
        if self.contrast:
            parts.append(seen.mean[..., None] * self.contrast)
        return torch.cat(parts, dim=2) if parts else None

    def _shifts(self, grid: SliceGrid, seen: Residuals) -> Tensor:
        """An image that is to be moved by t + δ shows, moved by t, H(k) - 2π k·δ H(-k)."""
        opposite = seen.mean.unflatten(1, (-1, 2)).flip(2)[..., None]
        step = -2 * math.pi * self.shift / grid.box_size * _signed(grid.points)
        return (opposite * step).flatten(1, 2)

    def corrected(self, views: ParticleViews, error: Tensor, grid: SliceGrid) -> ParticleViews:
        """Corrects the poses of views.

        Args:
            views: At the poses given.
            error: Errors of these poses, shape (B, Q) or (B, Q') with the Q' first ones.
            grid: Whose points the views have.

        Returns:
            Views at the true pose, as far as the errors are right.
        """
        shift, turn = self.split(error)
        coefficients = views.coefficients
        if self.shift:
            coefficients = shifted(coefficients, shift, grid.points / grid.box_size)
        rotation = roma.rotvec_to_rotmat(turn) @ views.rotation if self.rotation else views.rotation
        return views._replace(coefficients=coefficients, rotation=rotation)

    def split(self, error: Tensor) -> tuple[Tensor, Tensor]:
        """Gives errors their units back.

        Args:
            error: In units of standard deviations, shape (B, Q).

        Returns:
            Shifts to add to translations in pixels, shape (B, 2), and rotation vectors in radians,
            whose exponential goes before the rotation, shape (B, 3); zero where left out.
        """
        first = 2 if self.shift else 0
        zeros = error.new_zeros(len(error), 3)
        shift = error[:, :2] * self.shift if self.shift else zeros[:, :2]
        scale = math.radians(self.rotation)
        return shift, error[:, first : first + 3] * scale if self.rotation else zeros


def _signed(points: Tensor) -> Tensor:
    """Values at points, and their opposites at the mirror images: (P, C) -> (P, 2, C)."""
    return torch.stack([points, -points], dim=1)


def _turns(grid: SliceGrid, mean: Tensor, rotation: Tensor, seen: Residuals) -> Tensor:
    """Derivatives of a whitened slice about the image's axes, (B, P, 2, 3), per radian.

    A slice from exp(ω) R reads the volume at Rᵀ(k + k × ω), k in the image plane.
    """
    slopes = torch.cat([grid.read(seen.at, mean, axis) for axis in range(3)], dim=3)
    gx, gy, gz = torch.einsum("bij,bpsj->bpsi", rotation, slopes).unbind(3)
    kx, ky = _signed(grid.points).unbind(2)
    return torch.stack([-ky * gz, kx * gz, ky * gx - kx * gy], dim=3)
