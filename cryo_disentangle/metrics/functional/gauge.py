"""What a learned representation may choose freely, taken out before it is compared with the truth.

Images fix a volume up to one rotation of the model's axes and up to handedness, and conformation
coordinates up to a change of coordinates.
"""

from __future__ import annotations

from typing import NamedTuple

import roma
import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.metrics.functional.codes import Array, as_tensor, check_codes, check_columns

__all__ = ["PoseGauge", "align_latents", "align_poses", "check_poses", "fit_pose_gauge"]


class PoseGauge(NamedTuple):
    """A choice of the model's axes and hand.

    Attributes:
        rotation: G, shape (3, 3), float64: applied on the right, since rotations map model to
            image coordinates.
        mirrored: Whether the hand is the other one, bool, shape ().
    """

    rotation: Tensor
    mirrored: Tensor

    def apply(self, rotation: Tensor) -> Tensor:
        """Expresses rotations in the other axes: R G, or M R M G where mirrored.

        Args:
            rotation: Shape (N, 3, 3).

        Returns:
            Rotations, shape (N, 3, 3).
        """
        turned: Tensor = _mirror(rotation) if self.mirrored else rotation
        return turned @ self.rotation.to(rotation)


def check_poses(pose: Array, name: str) -> Tensor:
    """Takes rotations, or angles of in-plane rotations, as float64 matrices.

    Args:
        pose: Rotations (N, 3, 3), or angles in radians (N,) for poses on SO(2).
        name: What the array is called in messages.

    Returns:
        Rotations, shape (N, 3, 3), float64, detached. The geodesic distance of two in-plane
        rotations is the distance of their angles on the circle.

    Raises:
        ValueError: If the shape is another, there are fewer than two, a number is not finite, or a
            matrix mirrors.
    """
    pose = as_tensor(pose, name)
    if pose.ndim == 1:
        return in_plane_rotation(check_columns(pose, name)[:, 0])
    if pose.ndim != 3 or tuple(pose.shape[1:]) != (3, 3):
        raise ValueError(
            f"{name} must be rotations (N, 3, 3) or angles in radians (N,), got {tuple(pose.shape)}"
        )
    matrices = check_columns(pose.reshape(len(pose), 9), name).unflatten(1, (3, 3))
    mirrors = (torch.linalg.det(matrices) < 0).nonzero()[:, 0]
    if len(mirrors):
        raise ValueError(
            f"{name} must be rotations, but the matrix at row {int(mirrors[0])} mirrors: its "
            "determinant is negative"
        )
    return matrices


def _mirror(rotation: Tensor) -> Tensor:
    """M R M with M = diag(1, 1, -1): the same projections of the volume's mirror image."""
    signs = rotation.new_tensor([1, 1, -1])
    return rotation * (signs[:, None] * signs)


def _procrustes(estimated: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation G that maximises tr Gᵀ S with S = Σ estimatedᵀ reference, and that maximum."""
    product = (estimated.transpose(1, 2) @ reference).sum(0)
    rotation: Tensor = roma.special_procrustes(product)
    return rotation, (rotation * product).sum()


def fit_pose_gauge(estimated: Array, reference: Array) -> PoseGauge:
    """Finds the axes and the hand in which estimated poses are nearest to a reference.

    Minimises Σ |R_est G - R_ref|² (chordal distance) over rotations G, once for the poses as they
    are and once for those of the mirrored volume, M R M with M = diag(1, 1, -1). Poses on SO(2)
    have no hand, and are never taken for mirrored.

    Args:
        estimated: Rotations (N, 3, 3), or angles in radians (N,).
        reference: Of the same particles, likewise (N, 3, 3) or (N,).

    Returns:
        The gauge, to be applied to ``estimated``.

    Raises:
        ValueError: If shapes differ, there are fewer than two, or a number is not finite.

    References:
        Umeyama 1991, for the sign that keeps G a rotation; Hartley et al. 2013, Rotation
        averaging, for the chordal distance.
    """
    own, true = _check_pair(estimated, reference)
    (direct, score), (mirrored, mirrored_score) = (
        _procrustes(candidate, true) for candidate in (own, _mirror(own))
    )
    # By more than rounding: symmetric sets of poses have two equally good hands.
    other_hand = mirrored_score > score + 1e-9 * len(own)
    return PoseGauge(torch.where(other_hand, mirrored, direct), other_hand)


def align_poses(estimated: Array, reference: Array) -> Tensor:
    """Expresses estimated poses in the axes and hand of a reference.

    Args:
        estimated: Rotations (N, 3, 3), or angles in radians (N,).
        reference: Of the same particles, likewise (N, 3, 3) or (N,).

    Returns:
        Rotations, shape (N, 3, 3), float64: ``fit_pose_gauge`` applied to ``estimated``.

    Raises:
        ValueError: If shapes differ, there are fewer than two, or a number is not finite.
    """
    own, _ = _check_pair(estimated, reference)
    return fit_pose_gauge(estimated, reference).apply(own)


def _check_pair(estimated: Array, reference: Array) -> tuple[Tensor, Tensor]:
    own, true = check_poses(estimated, "estimated"), check_poses(reference, "reference")
    if len(own) != len(true):
        raise ValueError(
            f"estimated and reference must have as many poses, got {len(own)} and {len(true)}"
        )
    return own, true.to(own.device)


def align_latents(z: Array, target: Array) -> Tensor:
    """Maps latents to other coordinates by the best affine map, fitted on other samples.

    Even rows are mapped by the least-squares fit of the odd rows and odd rows by that of the even
    ones, so that no row is compared with a map that has seen it.

    Args:
        z: Latents, shape (N, K), N at least 4.
        target: Coordinates of the same samples, shape (N, D).

    Returns:
        Shape (N, D), float64.

    Edge cases:
        Constant or collinear latents: the fit of smallest norm, so a constant code gives the mean
        of the other half. K < D: the best map there is.

    Raises:
        ValueError: If lengths differ, there are fewer than 4 samples, or a number is not finite.
    """
    code, truth = check_codes(z, target, minimum=4)
    aligned = torch.empty_like(truth)
    for half in (0, 1):
        seen, unseen = slice(1 - half, None, 2), slice(half, None, 2)
        centre, offset = code[seen].mean(0), truth[seen].mean(0)
        scale = code[seen].std(0, correction=0)
        scale = scale.masked_fill(scale == 0, 1.0)
        # Equal scales first, so that the cut-off of the pseudo-inverse spares small latents.
        inverse = torch.linalg.pinv((code[seen] - centre) / scale, rtol=1e-9)
        weights = inverse @ (truth[seen] - offset)
        aligned[unseen] = (code[unseen] - centre) / scale @ weights + offset
    return aligned
