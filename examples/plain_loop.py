"""A plain PyTorch loop with the pose intervention as a function: no Lightning, no class of ours.

    python examples/plain_loop.py [--particles 2000] [--epochs 30]

A small autoencoder of particles that bend and turn in the image plane is trained twice from the
same weights, with the intervention and without, and measured on other particles.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cryo_disentangle.losses import (
    NormalizedDistance,
    RoundTripDistance,
    pose_intervention,
    shuffled_order,
)
from cryo_disentangle.metrics.functional import mcc, r2_linear, rotate_particles, rotation_scores
from cryo_disentangle.particles import RealPreprocessing
from cryo_disentangle.simulation import (
    InPlaneViews,
    Microscope,
    SimulatedDataset,
    Simulation,
    TwoArms,
    UniformFactors,
    WhiteNoise,
)
from cryo_disentangle.types import Inference, ParticleBatch, Pose

SIDE = 16


class Autoencoder(nn.Module):
    """What you have: anything that encodes images, and decodes at a pose."""

    def __init__(self, width: int = 128, dim: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(SIDE**2, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 2 * dim),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(dim, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, SIDE**2), nn.Unflatten(1, (1, SIDE, SIDE)),
        )  # fmt: skip

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, (B, 2) each."""
        mean, log_variance = self.encoder(images.flatten(1)).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, rotation: Tensor) -> Tensor:
        """Images (B, D, D), turned in their plane about pixel D / 2."""
        upright, back = self.decoder(z), rotation[:, :2, :2].mT
        centre = torch.full((2, 1), 1 / SIDE)
        affine = torch.cat([back, centre - back @ centre], 2)
        grid = F.affine_grid(affine, list(upright.shape), align_corners=False)
        return F.grid_sample(upright, grid, align_corners=False)[:, 0]


def train(data: ParticleBatch, epochs: int, weight: float, batch_size: int = 50) -> Autoencoder:
    """Your loop; what is new stands between the two lines."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = Autoencoder()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def infer(batch: ParticleBatch) -> Inference:
        return Inference(*model.encode(batch["images"]))

    def generate(z: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:  # noqa: ARG001
        return model.decode(z, pose.rotation)

    for epoch in range(epochs):
        for rows in torch.randperm(len(data["index"])).split(batch_size):
            batch: ParticleBatch = {key: value[rows] for key, value in data.items()}  # type: ignore
            inference = infer(batch)
            images = model.decode(inference.sample(), batch["rotation"])
            divergence = inference.mean.square() + inference.log_variance.exp()
            divergence = 0.5 * (divergence - inference.log_variance - 1).sum(1).mean()
            loss = F.mse_loss(images, batch["images"]) + divergence / SIDE**2
            # ----------------------------------------------------------------------------------
            if weight and epoch >= epochs // 3:
                pose = Pose(batch["rotation"][shuffled_order(len(rows), generator)])
                noise = 0.5 * torch.randn(images.shape, generator=generator)
                distance = RoundTripDistance(NormalizedDistance())
                terms = pose_intervention(
                    infer, generate, batch, inference, pose, distance, noise=noise
                )
                loss = loss + weight * terms.loss
            # ----------------------------------------------------------------------------------
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@torch.no_grad()
def measure(model: Autoencoder, data: ParticleBatch) -> list[float]:
    """Change of z when images are rotated (0: none, 1: as far as to another particle), R², MCC."""
    mean, log_variance = model.encode(data["images"])
    turned, _ = model.encode(rotate_particles(data, 90)["images"])
    change = rotation_scores(mean, turned, log_variance).normalized
    factors = data["factors"]
    return [float(change), float(r2_linear(mean, factors)), float(mcc(mean, factors))]


def simulated(count: int) -> tuple[ParticleBatch, ParticleBatch]:
    """Particles to train on and others to measure on."""
    microscope = Microscope(InPlaneViews(), noise=WhiteNoise(2.0))
    stack = Simulation(
        TwoArms(), UniformFactors(2), microscope, count, box_size=SIDE, pixel_size=8.5
    )
    images, _ = stack.images(stack.stack_draws(0, count))
    prepare = RealPreprocessing(norm=(float(images.mean()), float(images.std())))
    rows = range(count)
    training, others = (SimulatedDataset(stack, prepare, stream)[rows] for stream in (2, 3))
    return training, others


def main() -> None:
    """Trains twice and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--particles", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--weight", type=float, default=0.1)
    args = parser.parse_args()
    training, others = simulated(args.particles)
    print("| training | change of z when turned | R² of factors from z | MCC |\n|---|---|---|---|")
    for name, weight in (("without", 0.0), ("with the intervention", args.weight)):
        scores = measure(train(training, args.epochs, weight), others)
        print(f"| {name} | {' | '.join(f'{score:.3f}' for score in scores)} |")


if __name__ == "__main__":
    main()
