"""Rotation matrices and their other names.

A rotation R maps model coordinates (x, y, z) to image coordinates: density at model position p
appears in the image at the first two components of R p, and a central slice of the volume's
transform is read at ``lattice @ R`` (rows of lattice points). RELION and cryoSPARC store the same
matrix as Euler angles and as a rotation vector of its transpose.
"""

from __future__ import annotations

import roma
import torch
from torch import Tensor

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


def euler_zyz_to_rotation(angles_deg: Tensor) -> Tensor:
    """Converts RELION's Euler angles.

    Args:
        angles_deg: (rot, tilt, psi) in degrees, shape (..., 3).

    Returns:
        Rotations, shape (..., 3, 3): the transpose of the intrinsic ZYZ matrix, RELION's A.
    """
    rotation: Tensor = roma.euler_to_rotmat("ZYZ", angles_deg, degrees=True)
    return rotation.transpose(-1, -2)


def rotation_to_euler_zyz(rotation: Tensor) -> Tensor:
    """Converts to RELION's Euler angles.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        (rot, tilt, psi) in degrees, shape (..., 3), tilt in [0, 180]. Where tilt is 0 or 180 the
        other two are not unique; rot is then 0.
    """
    cos_tilt = rotation[..., 2, 2].clamp(-1, 1)
    sin_tilt = torch.hypot(rotation[..., 2, 0], rotation[..., 2, 1])
    # In float32 a smaller sine is rounding, and angles read from it would be noise.
    pole = sin_tilt < 16 * torch.finfo(rotation.dtype).eps
    rot = torch.atan2(rotation[..., 2, 1], rotation[..., 2, 0])
    psi = torch.atan2(rotation[..., 1, 2], -rotation[..., 0, 2])
    psi_at_pole = torch.atan2(rotation[..., 0, 1], rotation[..., 1, 1])
    rot = torch.where(pole, torch.zeros_like(rot), rot)
    psi = torch.where(pole, psi_at_pole, psi)
    return torch.rad2deg(torch.stack([rot, torch.atan2(sin_tilt, cos_tilt), psi], dim=-1))


def rotation_vector_to_rotation(vector: Tensor) -> Tensor:
    """Converts cryoSPARC's rotation vectors (``alignments3D/pose``).

    Args:
        vector: Axis times angle in radians, shape (..., 3); zero gives the identity.

    Returns:
        Rotations, shape (..., 3, 3): the transpose of the exponential of the vector.
    """
    rotation: Tensor = roma.rotvec_to_rotmat(vector)
    return rotation.transpose(-1, -2)


def rotation_to_rotation_vector(rotation: Tensor) -> Tensor:
    """Converts to cryoSPARC's rotation vectors.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        Axis times angle in radians, shape (..., 3), angle in [0, π].
    """
    vector: Tensor = roma.rotmat_to_rotvec(rotation.transpose(-1, -2))
    return vector


def quaternion_to_rotation(quaternion: Tensor) -> Tensor:
    """Converts quaternions as cryoDRGN's pose tables hold them.

    Args:
        quaternion: (x, y, z, w) of the transposed matrix, shape (..., 4); need not be normalised.

    Returns:
        Rotations, shape (..., 3, 3).
    """
    rotation: Tensor = roma.unitquat_to_rotmat(torch.nn.functional.normalize(quaternion, dim=-1))
    return rotation.transpose(-1, -2)


def rotation_to_quaternion(rotation: Tensor) -> Tensor:
    """Converts to quaternions as cryoDRGN's pose tables hold them.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        Unit quaternions (x, y, z, w) of the transposed matrix, shape (..., 4).
    """
    quaternion: Tensor = roma.rotmat_to_unitquat(rotation.transpose(-1, -2))
    return quaternion


def six_d_to_rotation(six_d: Tensor) -> Tensor:
    """Orthonormalises two vectors into the first two rows of a rotation.

    Args:
        six_d: Two concatenated 3-vectors, shape (..., 6).

    Returns:
        Rotations, shape (..., 3, 3).

    References:
        Zhou et al. 2019, On the continuity of rotation representations, Eq. 15; rows as in
        cryoDRGN's "s2s2".
    """
    columns = six_d.unflatten(-1, (2, 3)).transpose(-1, -2)
    rotation: Tensor = roma.special_gramschmidt(columns)
    return rotation.transpose(-1, -2)


def rotation_to_six_d(rotation: Tensor) -> Tensor:
    """Takes the first two rows of a rotation.

    Args:
        rotation: Shape (..., 3, 3).

    Returns:
        Shape (..., 6), which `six_d_to_rotation` turns back.
    """
    return rotation[..., :2, :].flatten(-2)


def in_plane_rotation(angle_rad: Tensor) -> Tensor:
    """Builds rotations about the viewing axis.

    Args:
        angle_rad: Angles in radians, shape (...,).

    Returns:
        R_z, shape (..., 3, 3). ``in_plane_rotation(a) @ R`` rotates the image of R by a, from the
        x axis towards the y axis.
    """
    cos, sin = torch.cos(angle_rad), torch.sin(angle_rad)
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    entries = [cos, -sin, zero, sin, cos, zero, zero, zero, one]
    return torch.stack(entries, dim=-1).unflatten(-1, (3, 3))


def random_rotations(
    n: int,
    *,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draws rotations uniformly on SO(3) (Haar measure).

    Args:
        n: How many.
        generator: Source of randomness on ``device``.
        device: Where to draw.
        dtype: Floating-point type of the result.

    Returns:
        Rotations, shape (n, 3, 3).

    References:
        Shoemake 1992: a normalised 4-D Gaussian is a uniform unit quaternion.
    """
    quaternion = torch.randn(n, 4, generator=generator, device=device, dtype=dtype)
    return quaternion_to_rotation(quaternion)


def geodesic_distance(first: Tensor, second: Tensor) -> Tensor:
    """Angle of the rotation that takes one rotation to the other.

    Both sine and cosine of the angle are used, since either alone loses half the digits at one end
    of [0, π].

    Args:
        first: Rotations, shape (..., 3, 3).
        second: Rotations, shape (..., 3, 3).

    Returns:
        Angles in radians in [0, π], shape (...,).
    """
    relative = first.transpose(-1, -2) @ second
    skew = relative - relative.transpose(-1, -2)
    sine = 0.5 * torch.stack([skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]], -1).norm(dim=-1)
    cosine = 0.5 * (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)
    return torch.atan2(sine, cosine)


def angular_distance(first_rad: Tensor, second_rad: Tensor) -> Tensor:
    """Distance of two angles on the circle.

    Args:
        first_rad: Angles in radians, shape (...,).
        second_rad: Angles in radians, shape (...,).

    Returns:
        Distances in radians in [0, π], shape (...,).
    """
    difference = first_rad - second_rad
    return torch.atan2(torch.sin(difference), torch.cos(difference)).abs()


def check_rotations(rotation: Tensor, source: str, tolerance: float = 1e-3) -> None:
    """Refuses matrices that are not rotations.

    Args:
        rotation: Shape (N, 3, 3).
        source: Where they come from, for the message.
        tolerance: Largest accepted entry of |R Rᵀ - 1|.

    Raises:
        ValueError: If the shape is another, an entry is not finite, or a matrix is not orthonormal
            with determinant +1; names the first such row.
    """
    if rotation.ndim != 3 or rotation.shape[1:] != (3, 3):
        raise ValueError(
            f"{source}: rotations must have shape (N, 3, 3), found {tuple(rotation.shape)}"
        )
    identity = torch.eye(3, dtype=rotation.dtype, device=rotation.device)
    residual = (rotation @ rotation.transpose(1, 2) - identity).abs().flatten(1).amax(1)
    # A comparison with NaN is False, so the test is for what is good.
    good = (residual <= tolerance) & (torch.linalg.det(rotation) > 0)
    if not bool(good.all()):
        row = int(torch.nonzero(~good)[0, 0])
        determinant = float(torch.linalg.det(rotation[row]))
        raise ValueError(
            f"{source}, row {row + 1}: not a rotation matrix: |R Rᵀ - 1| is "
            f"{float(residual[row]):.3g} (at most {tolerance:g} expected) and the determinant "
            f"{determinant:.3g} (+1 expected)"
        )
