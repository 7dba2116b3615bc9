"""Trains cryoDRGN's own network, with the pose intervention and without, and compares.

    python examples/cryodrgn_vae.py [--particles 4000] [--epochs 7] [--width 128] [--seeds 0]

`CryoDRGN` below is a LightningModule round cryoDRGN's HetOnlyVAE; cryoDRGN 4.3.1 must be installed.
It is trained by cryoDRGN's loss on a stack that is simulated here, a body with two moving arms,
seen from about one side, poses known. The intervention is one more callback and knows nothing of
cryoDRGN. Both trainings of a seed start from the same weights and see the same batches. Scores are
of other particles of the same simulation, with the simulation as the true generator.
"""

from __future__ import annotations

import argparse
import logging
import shlex
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import lightning as L
import torch
from cryodrgn.lattice import Lattice
from cryodrgn.models import HetOnlyVAE
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.nn import functional as F

from cryo_disentangle.callbacks import (
    DisentanglementMetrics,
    PoseConformationMetrics,
    PoseInterventionPenalty,
    PoseLeak,
)
from cryo_disentangle.imaging import FourierDisc, contrast_transfer, shift_hartley
from cryo_disentangle.losses import EstimatedNoise, LinearSchedule
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation import (
    ConcentratedViews,
    ContrastTransferRange,
    LinearMixing,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformFactors,
    WhiteNoise,
)
from cryo_disentangle.types import Inference, ParticleBatch, Pose

BOX_SIZE, PIXEL_SIZE = 32, 4.25
SCORES = {
    "val/reconstruction": "reconstruction error of held-out images",
    "metrics/pose_conformation/conformation_pose_invariance_normalized": "change of z with pose",
    "metrics/pose_conformation/conformation_encoder_consistency_normalized": "error of z in truth",
    "metrics/pose_leak/nonlinear_r2": "R² of z from the pose",
    "metrics/pose_conformation/conformation_std": "standard deviation of z",
    "metrics/r2_linear": "R² of true factors from z",
    "metrics/mcc_pearson": "MCC",
}


class CryoDRGN(L.LightningModule):
    """cryoDRGN's variational autoencoder of particles with known poses.

    Args:
        box_size: Image side D in pixels.
        width: Width of encoder and decoder, of three hidden layers each.
        dim: Number of latent coordinates.
    """

    def __init__(self, box_size: int, width: int, dim: int = 2) -> None:
        super().__init__()
        self.box_size, self.disc = box_size, FourierDisc(box_size)
        network = {"qlayers": 3, "qdim": width, "players": 3, "pdim": width, "zdim": dim}
        encoding = {"enc_type": "gaussian", "feat_sigma": 0.5}
        lattice = Lattice(box_size + 1)
        self.vae = HetOnlyVAE(lattice, in_dim=len(self.disc), **network, **encoding)

    def _transfer(self, batch: ParticleBatch) -> Tensor:
        return contrast_transfer(self.disc.frequencies, batch["ctf"], self.box_size)

    def _centred(self, batch: ParticleBatch) -> Tensor:
        coefficients = self.disc.select(batch["images"])
        return shift_hartley(coefficients, self.disc.frequencies, batch["translation"])

    def _slices(self, z: Tensor, rotation: Tensor) -> Tensor:
        return self.vae(F.pad(self.disc.frequencies, (0, 1)) @ rotation, z).flatten(1)

    def infer(self, batch: ParticleBatch) -> Inference:
        """Reads centred, phase-flipped coefficients."""
        return Inference(*self.vae.encode(self._centred(batch) * self._transfer(batch).sign()))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Renders Hartley transforms (B, D + 1, D + 1) as the stack has them."""
        slices = self._slices(conformation, pose.rotation) * self._transfer(batch)
        if pose.translation is not None:
            slices = shift_hartley(slices, self.disc.frequencies, -pose.translation)
        return self.disc.scatter(slices)

    def _error(self, z: Tensor, batch: ParticleBatch) -> Tensor:
        slices = self._slices(z, batch["rotation"]) * self._transfer(batch)
        return F.mse_loss(slices, self._centred(batch))

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Squared error, and the divergence from the prior with cryoDRGN's weight."""
        mean, log_variance, _ = inference = self.infer(batch)
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        weight = 1 / (mean.shape[1] * len(self.disc))
        return self._error(inference.sample(), batch) + weight * divergence

    def validation_step(self, batch: ParticleBatch, batch_idx: int) -> None:  # noqa: ARG002
        """Squared error at the posterior means."""
        error = self._error(self.infer(batch).mean, batch)
        self.log("val/reconstruction", error, batch_size=len(batch["index"]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam, as cryoDRGN; its rate of 1e-4 is meant for longer trainings."""
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def simulation(particles: int, seed: int) -> Simulation:
    """A body with two arms; each factor moves both."""
    views, shifts = ConcentratedViews(20.0), NormalShifts(0.5)
    ctf = ContrastTransferRange((8000.0, 20000.0))
    return Simulation(
        TwoArms(),
        UniformFactors(2),
        Microscope(views, shifts, ctf, WhiteNoise(2.0)),
        particles,
        BOX_SIZE,
        PIXEL_SIZE,
        LinearMixing(2, 45.0),
        seed,
    )


def penalty(args: argparse.Namespace, seed: int) -> PoseInterventionPenalty:
    """Comes in during the second quarter of the training, when there is something to render."""
    steps = args.epochs * args.particles // args.batch
    return PoseInterventionPenalty(
        LinearSchedule(0.0, args.weight, last_step=max(2, steps // 2), first_step=steps // 4),
        noise_std=EstimatedNoise(),
        seed=seed,
    )


def train(args: argparse.Namespace, folder: Path, seed: int, *callbacks: Callback) -> list[Any]:
    """Scores before and after a training.

    Args:
        args: Options of the command line.
        folder: The simulated stack, and where the run goes.
        seed: Seed of the weights and of all that is drawn in training.
        callbacks: What is added to the training.

    Returns:
        Scores by name, before and after.
    """
    held_out = simulation(args.held_out, seed=1000)
    scores: list[Callback] = [
        PoseConformationMetrics(true_generator=True, held_out=held_out, every_n_epochs=args.epochs),
        DisentanglementMetrics(held_out=held_out, every_n_epochs=args.epochs),
        PoseLeak(held_out=held_out, every_n_epochs=args.epochs),
    ]
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    found = []
    torch.manual_seed(seed)
    model = CryoDRGN(BOX_SIZE, args.width)
    data = ParticleData(folder / "particles.star", batch_size=args.batch, seed=seed)
    run = L.Trainer(
        accelerator="cpu",
        max_epochs=args.epochs,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_checkpointing=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **quiet,
    )
    judge = L.Trainer(accelerator="cpu", callbacks=scores, default_root_dir=folder, **quiet)
    for training in (False, True):
        if training:
            run.fit(model, data)
        judge.validate(model, data, verbose=False)
        found.append({name: float(value) for name, value in judge.callback_metrics.items()})
    return found


def main() -> None:
    """Trains and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--particles", type=int, default=4000)
    parser.add_argument("--held-out", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--weight", type=float, default=0.005)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in ("lightning.pytorch", "lightning.fabric", "cryodrgn"):
        logging.getLogger(name).setLevel(logging.ERROR)
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
    columns: dict[str, list[Any]] = {"untrained": [], "trained": [], "with the intervention": []}
    with tempfile.TemporaryDirectory() as name:
        stack = Path(name, "stack")
        simulation(args.particles, seed=0).write(stack)
        for seed in args.seeds:
            before, without = train(args, stack, seed)
            _, with_penalty = train(args, stack, seed, penalty(args, seed))
            for column, row in zip(columns, (before, without, with_penalty), strict=True):
                columns[column].append(row)
    print(f"`python {shlex.join(sys.argv)}`, commit {commit}, torch {torch.__version__},")
    print(f"mean of seeds {args.seeds}\n")
    print(f"| score | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for key, meaning in SCORES.items():
        means = [statistics.mean(row[key] for row in rows) for rows in columns.values()]
        print(f"| {meaning} | {' | '.join(f'{mean:.3f}' for mean in means)} |")


if __name__ == "__main__":
    main()
