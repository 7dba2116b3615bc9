"""Rotations as (..., 3, 3) matrices: conventions of RELION, cryoSPARC, cryoDRGN, and distances."""

from cryo_disentangle.geometry.rotations import (
    angular_distance,
    check_rotations,
    euler_zyz_to_rotation,
    geodesic_distance,
    in_plane_rotation,
    quaternion_to_rotation,
    random_rotations,
    rotation_to_euler_zyz,
    rotation_to_quaternion,
    rotation_to_rotation_vector,
    rotation_to_six_d,
    rotation_vector_to_rotation,
    six_d_to_rotation,
)

__all__ = [
    "angular_distance",
    "check_rotations",
    "euler_zyz_to_rotation",
    "geodesic_distance",
    "in_plane_rotation",
    "quaternion_to_rotation",
    "random_rotations",
    "rotation_to_euler_zyz",
    "rotation_to_quaternion",
    "rotation_to_rotation_vector",
    "rotation_to_six_d",
    "rotation_vector_to_rotation",
    "six_d_to_rotation",
]
