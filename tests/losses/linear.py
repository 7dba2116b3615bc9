"""A linear model of images in double precision, for the tests of penalties."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.geometry.rotations import six_d_to_rotation
from cryo_disentangle.types import Inference, ParticleBatch, Pose

SIDE, DIM = 6, 3


class LinearModel(nn.Module):
    """Encodes and decodes linearly; reads the batch's rotation, or infers one of its own."""

    def __init__(self, *, infers_pose: bool = False, reads_pose: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.infers_pose, self.reads_pose = infers_pose, reads_pose
        self.encoder = nn.Linear(SIDE * SIDE + 9 * reads_pose, 2 * DIM + 6 * infers_pose)
        self.decoder = nn.Linear(DIM + 9, SIDE * SIDE)
        self.double()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.normal_(0, 0.3, generator=generator)

    def infer(self, batch: ParticleBatch) -> Inference:
        x = batch["images"].flatten(1)
        if self.reads_pose:
            x = torch.cat([x, batch["rotation"].flatten(1)], 1)
        code = self.encoder(x)
        pose = Pose(six_d_to_rotation(code[:, 2 * DIM :])) if self.infers_pose else None
        return Inference(code[:, :DIM], 0.1 * code[:, DIM : 2 * DIM], pose)

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        seen = torch.cat([conformation, pose.rotation.flatten(1)], 1)
        images: Tensor = self.decoder(seen).unflatten(-1, (SIDE, SIDE))
        if "ctf" in batch:
            images = images * batch["ctf"][:, :1, None]
        if pose.translation is not None:
            images = images - pose.translation[:, :1, None]
        return images


def make_batch(count: int = 8, *, pairs: bool = False, seed: int = 0) -> ParticleBatch:
    """Random images at random known rotations, with a translation and a one-number CTF."""
    generator = torch.Generator().manual_seed(seed)
    kind = {"generator": generator, "dtype": torch.float64}
    total = 2 * count if pairs else count
    batch = ParticleBatch(
        images=torch.randn(total, SIDE, SIDE, **kind),  # type: ignore[call-overload]
        index=torch.arange(total),
        rotation=random_rotations(total, generator=generator, dtype=torch.float64),
        translation=torch.randn(total, 2, **kind),  # type: ignore[call-overload]
        ctf=torch.rand(total, 9, **kind) + 0.5,  # type: ignore[call-overload]
    )
    if pairs:
        for key, value in list(batch.items()):
            batch[key] = value.unflatten(0, (count, 2))  # type: ignore[literal-required, attr-defined]
    return batch


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """Gradient for every parameter, zeros where there is none."""
    named = dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter) if slope is None else slope
        for (name, parameter), slope in zip(named.items(), found, strict=True)
    }
