"""Rotations as (..., 3, 3) matrices: conventions of RELION, cryoSPARC, cryoDRGN, and distances."""

from cryo_disentangle.geometry.rotations import (
    euler_zyz_to_rotation,
    in_plane_rotation,
    random_rotations,
)

__all__ = [
    "euler_zyz_to_rotation",
    "in_plane_rotation",
    "random_rotations",
]
