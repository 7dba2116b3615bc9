"""Models of images that simply write conformation and pose into the pixels, and read them."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.types import Inference, ParticleBatch, Pose

SIDE, DIM = 7, 3


class ToyModel:
    """Exact but for what it is told to do wrong.

    Args:
        infers_pose: Whether it reads the pose from the pixels, or takes the batch's.
        leak: How much of the viewing direction is added to the conformation that is read.
        pose_leak: Angle in radians by which a unit of conformation turns the pose that is read.
        scale: Unit of the conformation that is read.
    """

    def __init__(
        self,
        *,
        infers_pose: bool = True,
        leak: float = 0.0,
        pose_leak: float = 0.0,
        scale: float = 1.0,
    ) -> None:
        self.infers_pose, self.leak, self.pose_leak, self.scale = (
            infers_pose,
            leak,
            pose_leak,
            scale,
        )
        self.seen: list[ParticleBatch] = []

    def infer(self, batch: ParticleBatch) -> Inference:
        self.seen.append(batch)
        pixels = batch["images"].flatten(1)
        z, rotation = pixels[:, :DIM], pixels[:, DIM : DIM + 9].unflatten(1, (3, 3))
        translation = pixels[:, DIM + 9 : DIM + 11]
        mean = self.scale * (z + self.leak * rotation[:, 2])
        log_variance = torch.full_like(mean, -2.0)
        if not self.infers_pose:
            return Inference(mean, log_variance)
        turn = torch.zeros(len(z), 3, 3, dtype=z.dtype)
        turn[:, 0, 1], turn[:, 1, 0] = -self.pose_leak * z[:, 0], self.pose_leak * z[:, 0]
        return Inference(
            mean, log_variance, Pose(torch.linalg.matrix_exp(turn) @ rotation, translation)
        )

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        assert pose.translation is not None
        images = torch.zeros_like(batch["images"]).flatten(1)
        parts = [conformation / self.scale, pose.rotation.flatten(1), pose.translation]
        images[:, : DIM + 11] = torch.cat(parts, 1)
        return images.unflatten(1, (SIDE, SIDE))


def toy_batch(count: int, *, seed: int = 0, first: int = 0) -> ParticleBatch:
    """Particles that a `ToyModel` without faults rendered; float64."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(count, DIM, generator=generator, dtype=torch.float64)
    pose = Pose(
        random_rotations(count, generator=generator, dtype=torch.float64),
        torch.randn(count, 2, generator=generator, dtype=torch.float64),
    )
    assert pose.translation is not None
    batch = ParticleBatch(
        images=torch.zeros(count, SIDE, SIDE, dtype=torch.float64),
        index=torch.arange(first, first + count),
        rotation=pose.rotation,
        translation=pose.translation,
        factors=factors,
    )
    batch["images"] = ToyModel().generate(factors, pose, batch)
    return batch


def split_batch(batch: ParticleBatch, sizes: list[int]) -> list[ParticleBatch]:
    """The same particles in batches of these sizes."""
    parts = {key: value.split(sizes) for key, value in batch.items()}  # type: ignore[attr-defined]
    return [
        {key: values[i] for key, values in parts.items()}  # type: ignore[misc]
        for i in range(len(sizes))
    ]
