"""Trains cryoDRGN and this package from the same weights on the same stack and compares losses.

    OMP_NUM_THREADS=1 python benchmarks/interop/loss_curve.py --cryodrgn PATH [--scratch FOLDER]

PATH is the `cryodrgn` command, which may be of another environment. The network (2 x 128, z of 4)
is made here, with random weights, and written as a cryoDRGN run of no epochs; `cryodrgn train_vae
--load` and `CryoDRGNReconstruction` without penalties go on from there, with the same Adam, batch
size and number of epochs. What differs are the order of the particles and the draws from the
posterior. Ends with status 1 if the reconstruction error of an epoch differs by more than a
hundredth.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.interop import CryoDRGNParticles
from cryo_disentangle.interop.writing import CryoDRGNWriter
from cryo_disentangle.modules import CryoDRGNReconstruction, HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.simulation.command import main as simulate

_SIMULATION = Path(__file__).resolve().parents[2] / "configs/simulate/two_arm.yaml"
_TOLERANCE = 0.01
_ZDIM, _WIDTH, _LAYERS, _BATCH, _RATE = 4, 128, 2, 16, 1e-3
_LINE = re.compile(r"Epoch: (\d+) Average gen loss = ([\d.e+-]+)")


class _EpochErrors(Callback):
    """Mean reconstruction error of each epoch, as cryoDRGN averages it."""

    def __init__(self) -> None:
        self.errors: list[float] = []
        self._sum, self._count = 0.0, 0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401 - Lightning's
        batch: Any,  # noqa: ANN401 - Lightning's
        batch_idx: int,
    ) -> None:
        del pl_module, outputs, batch_idx
        count = len(batch["index"])
        self._sum += count * float(trainer.callback_metrics["train/reconstruction"])
        self._count += count

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        del trainer, pl_module
        self.errors.append(self._sum / self._count)
        self._sum, self._count = 0.0, 0


def start(folder: Path, stack: Path, seed: int) -> Path:
    """Writes a run of no epochs."""
    torch.manual_seed(seed)
    data = ParticleData(stack / "particles.mrcs", stack / "poses.pkl", stack / "ctf.pkl")
    model = HeterogeneousReconstruction(
        data.box_size,
        _ZDIM,
        partial(MLPEncoder, width=_WIDTH, layers=_LAYERS),
        partial(ImplicitDecoder, width=_WIDTH, layers=_LAYERS),
    )
    adam = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=_RATE)
    writer = CryoDRGNWriter(folder)
    writer.write_config(model, data)
    writer.write_weights(model, [adam], 0)
    return folder


def train_theirs(command: str, begun: Path, stack: Path, out: Path, epochs: int) -> list[float]:
    """Errors of ``cryodrgn train_vae``."""
    words = [command, "train_vae", stack / "particles.mrcs", "-o", out, "--no-analysis"]
    words += ["--poses", stack / "poses.pkl", "--ctf", stack / "ctf.pkl"]
    words += ["--load", begun / "weights.pkl", "--zdim", _ZDIM, "-n", epochs, "-b", _BATCH]
    words += ["--enc-dim", _WIDTH, "--enc-layers", _LAYERS]
    words += ["--dec-dim", _WIDTH, "--dec-layers", _LAYERS, "--lr", _RATE, "--seed", 0]
    subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True)
    log = (out / "run.log").read_text()
    return [float(value) for _, value in _LINE.findall(log)]


def train_ours(begun: Path, out: Path, epochs: int) -> list[float]:
    """Errors of this package."""
    L.seed_everything(0)
    watch = _EpochErrors()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=epochs,
        default_root_dir=out,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    model = CryoDRGNReconstruction(begun)
    trainer.fit(
        model,
        datamodule=CryoDRGNParticles(begun, batch_size=_BATCH, validation_fraction=0.0),
    )
    return watch.errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cryodrgn", required=True, help="the cryodrgn command")
    parser.add_argument("--scratch", type=Path, default=None)
    parser.add_argument("--particles", type=int, default=1024)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    words = parser.parse_args()
    scratch = words.scratch or Path(tempfile.mkdtemp())
    stack = scratch / "stack"
    simulate(["--config", str(_SIMULATION), "--out", str(stack), f"--n_images={words.particles}"])
    begun = start(scratch / "begun", stack, words.seed)
    theirs = train_theirs(words.cryodrgn, begun, stack, scratch / "theirs", words.epochs)
    ours = train_ours(begun, scratch / "ours", words.epochs)
    print("| epoch | cryoDRGN | this package | difference |\n|---|---|---|---|")
    worst = 0.0
    for epoch, (one, other) in enumerate(zip(theirs, ours, strict=True), 1):
        worst = max(worst, abs(other / one - 1))
        print(f"| {epoch} | {one:.5f} | {other:.5f} | {100 * (other / one - 1):+.2f} % |")
    sys.exit(0 if worst <= _TOLERANCE else 1)


if __name__ == "__main__":
    main()
