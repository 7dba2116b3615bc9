"""The six consistencies and invariances of pose and conformation (Klindt et al. 2024, Appendix A).

With g(z, φ) the image of conformation z from pose φ, f_z and f_φ its inference, and a star for the
true ones:

    volume consistency              E d²(z, f*_z(g(z, φ)))                 / tr Cov z
    volume pose invariance          E d²(φ, f*_φ(g(z, φ)))                 / chance
    conformation consistency        E d²(z, f_z(g*(z, φ)))                 / tr Cov z
    conformation pose invariance    E d²(f_z(g*(z, φ)), f_z(g*(z, φ')))    / 2 tr Cov f_z
    pose consistency                E d²(φ, f_φ(g*(z, φ)))                 / chance
    pose conformation invariance    E d²(f_φ(g*(z, φ)), f_φ(g*(z', φ)))    / chance

Distances of z are Euclidean, of φ geodesic in radians. The functions take both sides of a
distance, one row a particle, whoever made them. Where the sides have axes of their own, bring them
together first with `align_latents` and `align_poses`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.metrics.functional.codes import Array, check_columns
from cryo_disentangle.metrics.functional.gauge import check_poses

__all__ = [
    "ConformationScore",
    "PoseScore",
    "conformation_encoder_consistency",
    "conformation_pose_invariance",
    "pose_conformation_invariance",
    "pose_encoder_consistency",
    "volume_consistency",
    "volume_pose_invariance",
]

# Relative to its root mean square, what is left of a constant in float32.
_CONSTANT = 1e-6
# Pairs of different particles that the chance level is averaged over, for each particle.
_PARTNERS = 16


class ConformationScore(NamedTuple):
    """A mean squared distance of conformations.

    All but the scores of axes are scalars.

    Attributes:
        raw: E d², in the units of z squared: shrinking z makes it as small as one likes.
        normalized: ``raw`` over what chance gives: 0 best, 1 chance, may exceed 1; 1 by definition
            where the latents are constant.
        per_axis: 1 - E d_k² over chance for each axis, shape (K,): R² for consistencies, the
            intraclass correlation for invariances; 1 best, 0 chance, 0 by definition for a
            constant axis. No scaling of single axes changes it.
        collapsed: Whether the latents on either side are constant, bool.
    """

    raw: Tensor
    normalized: Tensor
    per_axis: Tensor
    collapsed: Tensor


class PoseScore(NamedTuple):
    """Distances of poses, all scalars.

    Attributes:
        raw: E θ² in rad², θ the geodesic angle.
        normalized: ``raw`` over its mean for pairs of different particles: 0 best, 1 chance. For
            uniform poses chance is π²/3 + 2 on SO(3) and π²/3 on SO(2).
        median_deg: Median of θ in degrees.
        below_5_deg: Fraction of particles with θ < 5°.
        below_10_deg: Fraction of particles with θ < 10°.
    """

    raw: Tensor
    normalized: Tensor
    median_deg: Tensor
    below_5_deg: Tensor
    below_10_deg: Tensor


def volume_consistency(z: Array, z_after: Array) -> ConformationScore:
    """Computes whether the volume of a conformation shows that conformation.

    Args:
        z: Conformations that were rendered, shape (N, K).
        z_after: What is inferred of their images, shape (N, K).

    Returns:
        The score, normalised by tr Cov z: 1 - ``normalized`` is R² about the line z_after = z.

    Edge cases:
        Constant ``z``: normalised 1 and collapsed; constant ``z_after``: collapsed, normalised at
        least 1.

    Raises:
        ValueError: If shapes differ, there are fewer than two rows, or a number is not finite.
    """
    first, second = _check_latents(z, z_after)
    collapsed = _collapsed(first) | _collapsed(second)
    return _compare(first, second, _spread(first), collapsed)


def conformation_encoder_consistency(z: Array, z_after: Array) -> ConformationScore:
    """Computes whether the encoder recovers the conformation that a generator rendered.

    Args:
        z: Conformations that were rendered, shape (N, D).
        z_after: What the encoder infers, in the same coordinates (`align_latents`), shape (N, D).

    Returns:
        As `volume_consistency`.

    Raises:
        ValueError: As `volume_consistency`.
    """
    return volume_consistency(z, z_after)


def conformation_pose_invariance(first: Array, second: Array) -> ConformationScore:
    """Computes whether the inferred conformation is invariant to the pose.

    Args:
        first: Inferred conformations from one pose, shape (N, K).
        second: From another pose, same particles, shape (N, K).

    Returns:
        The score, normalised by 2 tr Cov of both together: ``normalized`` is one minus the
        intraclass correlation, and ``per_axis`` that correlation for each axis.

    Edge cases:
        Constant latents: normalised 1 and collapsed.

    Raises:
        ValueError: If shapes differ, there are fewer than two rows, or a number is not finite.
    """
    one, other = _check_latents(first, second)
    both = torch.cat([one, other])
    return _compare(one, other, 2 * _spread(both), _collapsed(both))


def volume_pose_invariance(pose: Array, pose_after: Array) -> PoseScore:
    """Computes whether a volume rendered from a pose looks as seen from that pose.

    Args:
        pose: Poses that were rendered: rotations (N, 3, 3), or angles in radians (N,) on SO(2).
        pose_after: What is inferred of the images, likewise (N, 3, 3) or (N,), in the same axes
            (`align_poses`).

    Returns:
        The score.

    Raises:
        ValueError: If lengths differ, there are fewer than two, or a number is not finite.
    """
    return _compare_poses(pose, pose_after)


def pose_encoder_consistency(pose: Array, pose_after: Array) -> PoseScore:
    """Computes whether the pose encoder recovers the pose that a generator rendered.

    Args:
        pose: Poses that were rendered: rotations (N, 3, 3), or angles in radians (N,) on SO(2).
        pose_after: What the encoder infers, likewise (N, 3, 3) or (N,), in the same axes
            (`align_poses`).

    Returns:
        The score.

    Raises:
        ValueError: If lengths differ, there are fewer than two, or a number is not finite.
    """
    return _compare_poses(pose, pose_after)


def pose_conformation_invariance(first: Array, second: Array) -> PoseScore:
    """Computes whether the inferred pose is invariant to the conformation.

    Args:
        first: Inferred poses: rotations (N, 3, 3), or angles in radians (N,) on SO(2).
        second: Those of other conformations from the same poses, likewise (N, 3, 3) or (N,).

    Returns:
        The score; an encoder that always answers the same is at chance, 1 by definition.

    Raises:
        ValueError: If lengths differ, there are fewer than two, or a number is not finite.
    """
    return _compare_poses(first, second)


def _check_latents(first: Array, second: Array) -> tuple[Tensor, Tensor]:
    one, other = check_columns(first, "first latents"), check_columns(second, "second latents")
    if one.shape != other.shape:
        raise ValueError(
            f"both latents must have one shape, got {tuple(one.shape)} and {tuple(other.shape)}"
        )
    return one, other.to(one.device)


def _spread(z: Tensor) -> Tensor:
    """Variance of each axis, exactly zero where it is rounding."""
    variance = z.var(0, correction=0)
    return variance.masked_fill(variance <= _CONSTANT**2 * z.square().mean(0), 0.0)


def _collapsed(z: Tensor) -> Tensor:
    return (_spread(z) == 0).all()


def _ratio(value: Tensor, chance: Tensor) -> Tensor:
    """Value over chance; 1 where nothing varies, which would be 0 / 0."""
    nothing = chance == 0
    return (value / chance.masked_fill(nothing, 1.0)).masked_fill(nothing, 1.0)


def _compare(one: Tensor, other: Tensor, chance: Tensor, collapsed: Tensor) -> ConformationScore:
    squared = (one - other).square().mean(0)
    normalized = _ratio(squared.sum(), chance.sum())
    return ConformationScore(squared.sum(), normalized, 1 - _ratio(squared, chance), collapsed)


def _compare_poses(pose: Array, pose_after: Array) -> PoseScore:
    one, other = check_poses(pose, "first poses"), check_poses(pose_after, "second poses")
    if len(one) != len(other):
        raise ValueError(f"both must have as many poses, got {len(one)} and {len(other)}")
    other = other.to(one.device)
    angle = geodesic_distance(one, other)
    degrees = torch.rad2deg(angle)
    raw = angle.square().mean()
    # The angle of two equal rotations is rounding, not zero.
    chance = _chance(one, other)
    chance = chance.masked_fill(chance < 1e-12, 0.0)
    return PoseScore(
        raw,
        _ratio(raw, chance),
        degrees.median(),
        (degrees < 5).double().mean(),
        (degrees < 10).double().mean(),
    )


def _chance(one: Tensor, other: Tensor) -> Tensor:
    """Mean squared angle between a particle's pose and other particles' answers."""
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(one), generator=generator).to(one.device)
    one, other = one[order], other[order]
    shifts = range(1, min(len(one) - 1, _PARTNERS) + 1)
    means = [geodesic_distance(one, other.roll(shift, 0)).square().mean() for shift in shifts]
    return torch.stack(means).mean()
