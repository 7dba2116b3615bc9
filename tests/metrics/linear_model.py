"""A model whose images are linear in z, so that all of its scores are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor

from cryo_disentangle.types import Inference, ParticleBatch, Pose

SIDE, DIM, NOISE = 8, 2, 1.0


def patterns() -> Tensor:
    """Orthonormal images of the coordinates, shape (Z, D²)."""
    drawn = torch.randn(SIDE * SIDE, DIM, generator=torch.Generator().manual_seed(1))
    return torch.linalg.qr(drawn).Q.T


class LinearModel:
    """Renders z as a sum of patterns, whatever the pose, and infers it by least squares.

    Args:
        shrinkage: Factor of what is inferred.
        stored: Latents that are looked up instead, shape (N, Z).
    """

    def __init__(self, shrinkage: float = 1.0, stored: Tensor | None = None) -> None:
        self.patterns, self.shrinkage, self.stored = patterns(), shrinkage, stored

    def infer(self, batch: ParticleBatch) -> Inference:
        mean = self.shrinkage * batch["images"].flatten(1) @ self.patterns.T
        if self.stored is not None:
            mean = self.stored[batch["index"]]
        return Inference(mean, torch.full_like(mean, -2.0))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        del pose
        return (conformation @ self.patterns).view_as(batch["images"])


def make_batches(
    count: int, spread: float, size: int = 100
) -> Iterator[tuple[ParticleBatch, Tensor]]:
    """Images of z of some spread, with noise, and these z."""
    generator = torch.Generator().manual_seed(2)
    z = spread * torch.randn(count, DIM, generator=generator)
    images = z @ patterns() + NOISE * torch.randn(count, SIDE * SIDE, generator=generator)
    rotation = torch.eye(3).expand(count, 3, 3)
    for at in range(0, count, size):
        rows = slice(at, at + size)
        batch = {
            "images": images[rows].unflatten(1, (SIDE, SIDE)),
            "index": torch.arange(count)[rows],
            "rotation": rotation[rows],
        }
        yield cast("ParticleBatch", batch), z[rows]
