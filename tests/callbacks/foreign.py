"""What a user has before meeting this package: a model, its data and its loop; nothing of ours.

The last three functions are all that a callback is told about them.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SIDE = 16


class ConvolutionalVAE(L.LightningModule):
    """Flat particles that bend, turned in the image plane by known angles."""

    def __init__(self, latent_dim: int = 2, learning_rate: float = 1e-3) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(8, 16, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(16 * (SIDE // 4) ** 2, 2 * latent_dim),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_dim, 16 * (SIDE // 4) ** 2),
            nn.Unflatten(1, (16, SIDE // 4, SIDE // 4)),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 8, 4, 2, 1),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 1, 4, 2, 1),
        )

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, rotation: Tensor) -> Tensor:
        # What is at p before the rotation R is at R p after it; the grid asks where x came from.
        affine = F.pad(rotation[:, :2, :2].mT, (0, 1))
        upright = self.decoder(z)
        grid = F.affine_grid(affine, list(upright.shape), align_corners=False)
        return F.grid_sample(upright, grid.to(upright), align_corners=False)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        images, rotation = batch
        mean, log_variance = self.encode(images)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        reconstruction = F.mse_loss(self.decode(z, rotation), images)
        kl = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        loss = reconstruction + 1e-4 * kl
        self.log("loss", loss)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.learning_rate)


def make_particles(count: int, seed: int = 0) -> TensorDataset:
    """Images (count, 1, SIDE, SIDE), rotations (count, 3, 3) about the viewing axis, bends."""
    generator = torch.Generator().manual_seed(seed)
    bend, angle = torch.rand(2, count, generator=generator)
    bend, angle = 2 * bend - 1, 2 * math.pi * angle
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(count)
    columns = [cos, -sin, zero, sin, cos, zero, zero, zero, zero + 1]
    rotation = torch.stack(columns, 1).reshape(count, 3, 3)
    axis = torch.linspace(-1, 1, SIDE)
    images = 0.1 * torch.randn(count, 1, SIDE, SIDE, generator=generator)
    for blob in (torch.stack([bend, zero + 0.5], 1) * 0.8, torch.stack([zero, zero - 0.4], 1)):
        x, y = torch.einsum("nij,nj->in", rotation[:, :2, :2], blob)[..., None, None]
        images[:, 0] += torch.exp(-((axis - x) ** 2 + (axis[:, None] - y) ** 2) / 0.06)
    return TensorDataset(images, rotation, bend)


def loader(count: int = 40, batch_size: int = 8) -> DataLoader[Any]:
    """Batches of images and rotations in the order of their making."""
    return DataLoader(
        TensorDataset(*make_particles(count).tensors[:2]), batch_size=batch_size, shuffle=False
    )


def infer(module: ConvolutionalVAE, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    return module.encode(batch["images"][:, None])


def generate(
    module: ConvolutionalVAE,
    conformation: Tensor,
    pose: Any,
    batch: dict[str, Tensor],  # noqa: ARG001
) -> Tensor:
    return module.decode(conformation, pose.rotation)[:, 0]


def as_batch(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    images, rotation = batch
    index = torch.arange(len(images), device=images.device)
    return {"images": images[:, 0], "rotation": rotation, "index": index}
