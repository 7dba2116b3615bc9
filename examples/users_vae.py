"""A convolutional VAE of a user's own, trained with one added line and without it.

    python examples/users_vae.py [--particles 2000] [--epochs 20]

The module and its loader know nothing of this package; `infer`, `generate` and `as_batch` are all
that a callback is told about them. A body with two moving arms, turned in the image plane, is
simulated for the training and, with other random numbers, for the scores.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from pathlib import Path

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from cryo_disentangle.callbacks import DisentanglementMetrics, PoseInterventionPenalty, RotationTest
from cryo_disentangle.losses import LinearSchedule
from cryo_disentangle.particles import RealPreprocessing
from cryo_disentangle.simulation import (
    InPlaneViews,
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    WhiteNoise,
)
from cryo_disentangle.types import ParticleBatch, Pose

SIDE = 16
SCORES = {
    "metrics/rotation/normalized": "change of z when turned",
    "metrics/r2_linear": "R² of factors from z",
    "metrics/mcc_pearson": "MCC",
}

# What a user has ---------------------------------------------------------------------------------


class ConvolutionalVAE(L.LightningModule):
    """Encodes images (B, 1, D, D), decodes an upright one and turns it by the known angle."""

    def __init__(self, dim: int = 2, width: int = 16) -> None:
        super().__init__()
        size = 2 * width * (SIDE // 4) ** 2
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1), nn.ReLU(), nn.Conv2d(width, 2 * width, 4, 2, 1),
            nn.ReLU(), nn.Flatten(), nn.Linear(size, 128), nn.ReLU(), nn.Linear(128, 2 * dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(dim, 128), nn.ReLU(), nn.Linear(128, SIDE**2),
            nn.Unflatten(1, (1, SIDE, SIDE)),
        )  # fmt: skip

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, (B, 2) each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, rotation: Tensor) -> Tensor:
        """Images turned in their plane about pixel D / 2."""
        upright, back = self.decoder(z), rotation[:, :2, :2].mT
        centre = torch.full((2, 1), 1 / SIDE, device=z.device)
        affine = torch.cat([back, centre - back @ centre], 2)
        grid = F.affine_grid(affine, list(upright.shape), align_corners=False)
        return F.grid_sample(upright, grid, align_corners=False)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:  # noqa: ARG002
        """Squared error and divergence from the prior."""
        images, rotation = batch
        mean, log_variance = self.encode(images)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        return F.mse_loss(self.decode(z, rotation), images) + divergence / SIDE**2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=2e-3)


# What a callback is told -------------------------------------------------------------------------


def infer(module: ConvolutionalVAE, batch: ParticleBatch) -> tuple[Tensor, Tensor]:
    """How the module infers from images (B, D, D)."""
    return module.encode(batch["images"][:, None])


def generate(
    module: ConvolutionalVAE,
    conformation: Tensor,
    pose: Pose,
    batch: ParticleBatch,  # noqa: ARG001
) -> Tensor:
    """How it renders images (B, D, D)."""
    return module.decode(conformation, pose.rotation)[:, 0]


def as_batch(batch: tuple[Tensor, Tensor]) -> ParticleBatch:
    """How the loader's batches become particles."""
    images, rotation = batch
    index = torch.arange(len(images), device=images.device)
    return {"images": images[:, 0], "index": index, "rotation": rotation}


# -------------------------------------------------------------------------------------------------


def train(args: argparse.Namespace, folder: Path, *, with_penalty: bool) -> dict[str, float]:
    """Trains and scores on other particles."""
    stack, others = (simulation(args.particles, seed) for seed in (0, 1))
    images, particles = stack.images(stack.stack_draws(0, args.particles))
    mean, std = float(images.mean()), float(images.std())
    data = TensorDataset(((mean - images) / std)[:, None], particles.rotation)
    prepare = RealPreprocessing(norm=(mean, std), window_radius=None)
    # The first epoch is scored, and then the last.
    every = max(1, args.epochs - 1)
    callbacks: list[L.Callback] = [
        metric(
            every_n_epochs=every,
            held_out=others,
            particles=500,
            preprocessing=prepare,
            infer=infer,
        )
        for metric in (RotationTest, DisentanglementMetrics)
    ]
    if with_penalty:
        steps = args.epochs * len(data) // 50
        ramp = LinearSchedule(0.0, 0.03, last_step=max(2, steps // 2), first_step=steps // 4)
        callbacks += [
            PoseInterventionPenalty(
                ramp, noise_std=0.5, infer=infer, generate=generate, as_batch=as_batch
            )
        ]
    torch.manual_seed(0)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=args.epochs,
        default_root_dir=folder,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ConvolutionalVAE(), DataLoader(data, batch_size=50, shuffle=True))
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def simulation(count: int, seed: int) -> Simulation:
    """A body with two arms, turned in the image plane."""
    microscope = Microscope(InPlaneViews(), noise=WhiteNoise(2.0))
    return Simulation(
        TwoArms(), UniformFactors(2), microscope, count, box_size=SIDE, pixel_size=8.5, seed=seed
    )


def main() -> None:
    """Trains twice and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    print(f"| training | {' | '.join(SCORES.values())} |\n|---|{'---|' * len(SCORES)}")
    for name, with_penalty in (("without", False), ("with the intervention", True)):
        with tempfile.TemporaryDirectory() as folder:
            found = train(args, Path(folder), with_penalty=with_penalty)
        print(f"| {name} | {' | '.join(f'{found[score]:.3f}' for score in SCORES)} |")


if __name__ == "__main__":
    main()
