"""Screw motions of domains about hinges, given or found between two conformers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

__all__ = ["Hinge", "find_hinge", "screw_displacement", "superpose"]

Array = npt.NDArray[np.float64]

# Below it the axis of the rotation is decided by rounding of coordinates.
_SMALLEST_ANGLE_DEG = 0.1


@dataclass(frozen=True)
class Hinge:
    """A screw motion about a fixed axis.

    A point x with weight w moves, for coordinate z, to
    R(axis, w z angle) (x - point) + point + w z shift axis.

    Args:
        axis: Direction (x, y, z) of the axis; brought to unit length.
        point: A point of the axis in Å.
        angle_deg: Rotation in degrees at coordinate 1.
        shift: Translation along the axis in Å at coordinate 1.

    Raises:
        ValueError: If the axis has zero length.
    """

    axis: tuple[float, float, float]
    point: tuple[float, float, float]
    angle_deg: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        length = math.hypot(*self.axis)
        if not length > 0:
            raise ValueError(f"a hinge's axis must have a direction, found {self.axis}")
        unit = tuple(float(component) / length for component in self.axis)
        object.__setattr__(self, "axis", unit)


def screw_displacement(arm: Tensor, axis: Tensor, angle: Tensor, slide: Tensor) -> Tensor:
    """Moves points about an axis through the origin and along it.

    Args:
        arm: Points from a point of the axis in Å, shape (N, 3).
        axis: Unit vector, shape (3,).
        angle: Of each point in radians, shape (B, N).
        slide: Of each point along the axis in Å, shape (B, N).

    Returns:
        Displacements in Å, shape (B, N, 3).
    """
    across = torch.linalg.cross(axis.expand_as(arm), arm)
    radial = torch.linalg.cross(across, axis.expand_as(arm))
    half = torch.sin(angle / 2)
    # Rodrigues' formula as a displacement: the part along the axis stays.
    return (
        torch.sin(angle).unsqueeze(-1) * across
        - (2 * half.square()).unsqueeze(-1) * radial
        + slide.unsqueeze(-1) * axis
    )


def superpose(moving: Array, fixed: Array) -> tuple[Array, Array]:
    """Finds the rigid motion that brings points closest to others.

    Args:
        moving: Shape (N, 3).
        fixed: Shape (N, 3).

    Returns:
        R and t of moving @ R.T + t, shapes (3, 3) and (3,).

    References:
        Kabsch 1976.
    """
    from_centre, to_centre = moving.mean(axis=0), fixed.mean(axis=0)
    rotation, _ = Rotation.align_vectors(fixed - to_centre, moving - from_centre)
    matrix = rotation.as_matrix()
    return matrix, to_centre - matrix @ from_centre


def find_hinge(name: str, before: Array, after: Array) -> Hinge:
    """Describes the rigid motion of a domain as a screw.

    Args:
        name: Name of the domain, for the message.
        before: Positions in Å, shape (N, 3).
        after: The same atoms moved, the core being superposed, shape (N, 3).

    Returns:
        The hinge whose coordinate 1 is the motion, its point beside the domain's centre.

    Raises:
        ValueError: If there are fewer than three atoms, or the domain hardly turns.

    References:
        Chasles' theorem; Hayward and Berendsen 1998, DynDom.
    """
    if len(before) < 3:
        raise ValueError(
            f"domain {name}: three or more residues to fit on expected, found {len(before)}"
        )
    matrix, translation = superpose(before, after)
    vector = Rotation.from_matrix(matrix).as_rotvec(degrees=True)
    angle = float(np.linalg.norm(vector))
    if angle < _SMALLEST_ANGLE_DEG:
        raise ValueError(
            f"domain {name} turns by {angle:.2g} degrees between the conformers: it has no hinge"
        )
    axis = vector / angle
    shift = float(translation @ axis)
    # Points of the axis only slide along it: (1 - R) p = t - shift axis, of which the smallest
    # solution is moved along the axis to the domain.
    point = np.linalg.lstsq(np.eye(3) - matrix, translation - shift * axis, rcond=1e-9)[0]
    point += axis * (axis @ (before.mean(axis=0) - point))
    return Hinge(tuple(axis.tolist()), tuple(point.tolist()), angle, shift)
