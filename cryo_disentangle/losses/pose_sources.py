"""Where the poses of an intervention come from.

A source changes how particles are seen: rotations, and for statistics the precision that belongs to
them. A translation stays with its particle, so that re-encoding, which moves the image by the
particle's own translation, finds the decoded image centred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.options.parts import part
from cryo_disentangle.precision import may_look
from cryo_disentangle.types import Pose

__all__ = ["InPlanePoses", "PoseSource", "ShuffledPoses", "UniformPoses", "shuffled_order"]


@part
class PoseSource(Protocol):
    """Draws other poses for the particles of a batch."""

    def draw(self, pose: Pose, generator: torch.Generator) -> Pose:
        """Replaces the rotations of particles, keeping their translations.

        Args:
            pose: Poses of B particles.
            generator: Source of randomness.

        Returns:
            Other poses, of the same shapes.
        """
        ...


def shuffled_order(count: int, generator: torch.Generator) -> Tensor:
    """Draws an order in which no particle keeps its place: a uniformly random cycle.

    Args:
        count: Number of particles B.
        generator: Source of randomness.

    Returns:
        The particle at each place, shape (B,), int64, on the generator's device; each of the other
        B - 1 with the same probability.

    Raises:
        ValueError: If there are fewer than two particles.
    """
    if count < 2:
        raise ValueError(
            f"a shuffle needs batches of at least 2 particles, found {count}: change the batch size"
        )
    cycle = torch.randperm(count, generator=generator, device=generator.device)
    order = torch.empty_like(cycle)
    order[cycle] = cycle.roll(1)
    return order


def _refuse_statistics(pose: Pose, source: PoseSource) -> None:
    """Refuses poses that nothing was imaged from, where a precision would have to be known."""
    if pose.precision is not None:
        raise ValueError(
            f"{type(source).__name__} generates poses, and statistics exist only at the poses of "
            "imaged particles: use ShuffledPoses"
        )


def _angles(pose: Pose, generator: torch.Generator) -> Tensor:
    """Angles in [0, 2π) in radians, one a particle."""
    angles = torch.empty_like(pose.rotation[:, 0, 0], dtype=_wide(pose.rotation))
    return angles.uniform_(0, 2 * math.pi, generator=generator)


def _wide(rotation: Tensor) -> torch.dtype:
    """The type to draw in: of half precision, which turns by a degree, rotations have three digits.

    Nor do half and full precision draw alike in every version of torch.
    """
    return torch.promote_types(rotation.dtype, torch.float32)


@dataclass(frozen=True)
class ShuffledPoses(PoseSource):
    """Each particle gets another's pose (Algorithm 1 of Klindt et al. 2024).

    With known poses this is the right distribution. Inferred poses may be wrong but
    self-consistent; then use `UniformPoses`.
    """

    def draw(self, pose: Pose, generator: torch.Generator) -> Pose:
        """Shuffles rotations, and precisions with them; no particle keeps its own.

        Args:
            pose: Poses of B particles.
            generator: Source of randomness on their device.

        Returns:
            The poses.

        Raises:
            ValueError: If there are fewer than two particles.
        """
        order = shuffled_order(len(pose.rotation), generator)
        return pose.map(lambda part: part[order])._replace(translation=pose.translation)


@dataclass(frozen=True)
class UniformPoses(PoseSource):
    """Poses from the whole prior, the uniform distribution over a group of rotations.

    Args:
        group: ``so2``, rotations in the image plane; ``so3``, all; null is ``so2`` where all poses
            of the batch are rotations in the image plane, else ``so3``.
    """

    group: Literal["so2", "so3"] | None = None

    def draw(self, pose: Pose, generator: torch.Generator) -> Pose:
        """Draws rotations.

        Args:
            pose: Poses of B particles.
            generator: Source of randomness on their device.

        Returns:
            The poses.

        Raises:
            ValueError: If they are poses of statistics, which cannot be generated.
        """
        _refuse_statistics(pose, self)
        rotation = pose.rotation
        group = self.group
        in_plane = (rotation[:, 2, 2] > 1 - 1e-6).all()
        if group is None and may_look(rotation.device):
            group = "so2" if bool(in_plane) else "so3"
        if group == "so2":
            return Pose(in_plane_rotation(_angles(pose, generator)), pose.translation)
        drawn = random_rotations(
            len(rotation), generator=generator, device=rotation.device, dtype=_wide(rotation)
        )
        if group is None:
            drawn = torch.where(in_plane, in_plane_rotation(_angles(pose, generator)), drawn)
        return Pose(drawn, pose.translation)


@dataclass(frozen=True)
class InPlanePoses(PoseSource):
    """Each particle keeps its viewing direction and is rotated in the image plane."""

    def draw(self, pose: Pose, generator: torch.Generator) -> Pose:
        """Turns the particles by uniform angles.

        Args:
            pose: Poses of B particles.
            generator: Source of randomness on their device.

        Returns:
            The poses.

        Raises:
            ValueError: If they are poses of statistics, which cannot be generated.
        """
        _refuse_statistics(pose, self)
        turn = in_plane_rotation(_angles(pose, generator))
        rotated = turn @ pose.rotation.to(turn)
        return Pose(rotated, pose.translation)
