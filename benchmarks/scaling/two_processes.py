"""Two processes of one thread against one: images/s, and the same weights after k steps.

    python benchmarks/scaling/two_processes.py [--box-size 64] [--width 256] [--steps 30]

Runs itself three times: one process, then two under torchrun, each with a batch of 8 in every
process, timed over all but the first steps of a Trainer; then one process with the batches of
both. Batches are made beforehand and are in memory; the posterior's mean is decoded, so that a
step is the same whoever takes it; cores are one for each process. The weights of two processes are
compared with those of one process that saw both batches at once. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.types import ParticleBatch

BATCH, ZDIM, LAYERS, WARMUP = 8, 8, 3, 3


class MeanReconstruction(HeterogeneousReconstruction):
    """Trains from the posterior's mean, without random numbers."""

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Evaluates the loss."""
        return self._terms(batch, sample=False)["loss"]


class Clock(Callback):
    """Times all but the first steps."""

    def __init__(self) -> None:
        self._start, self.seconds = 0.0, 0.0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Reads the clock."""
        if trainer.global_step == WARMUP:
            self._start = time.perf_counter()
        self.seconds = time.perf_counter() - self._start


def make_batches(box_size: int, steps: int, parts: list[int]) -> list[ParticleBatch]:
    """The same batches for everybody: of each step the parts that are asked for."""
    batches = []
    for step in range(steps):
        drawn = []
        for part in parts:
            generator = torch.Generator().manual_seed(2 * step + part)
            row = torch.tensor([box_size, 3.0, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
            drawn.append(
                {
                    "images": torch.randn(BATCH, box_size + 1, box_size + 1, generator=generator),
                    "rotation": random_rotations(BATCH, generator=generator),
                    "translation": torch.randn(BATCH, 2, generator=generator),
                    "ctf": row.repeat(BATCH, 1),
                    "index": torch.arange(BATCH),
                }
            )
        batches.append({key: torch.cat([each[key] for each in drawn]) for key in drawn[0]})
    return batches  # type: ignore[return-value]


def train(args: argparse.Namespace, role: str) -> dict[str, Any]:
    """What one process of a role measures, and its weights."""
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    parts = {"one": [0], "two": [rank], "whole": [0, 1]}[role]
    torch.manual_seed(0)
    model = MeanReconstruction(
        args.box_size,
        ZDIM,
        encoder=partial(MLPEncoder, width=args.width, layers=LAYERS),
        decoder=partial(ImplicitDecoder, width=args.width, layers=LAYERS),
        # Adam divides by what rounding makes of gradients near 0.
        optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    )
    clock = Clock()
    trainer = L.Trainer(
        accelerator="cpu",
        devices=2 if role == "two" else 1,
        strategy=DDPStrategy(process_group_backend="gloo") if role == "two" else "auto",
        max_epochs=1,
        callbacks=[clock],
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    batches = make_batches(args.box_size, args.steps, parts)
    trainer.fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return {
        "rate": BATCH * (args.steps - WARMUP) / clock.seconds,
        "weights": torch.cat([p.detach().flatten() for p in model.parameters()]),
    }


def measure(args: argparse.Namespace, role: str, folder: Path) -> list[dict[str, Any]]:
    """Runs this script in a role; returns what its processes found."""
    processes = 2 if role == "two" else 1
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command += [__file__, f"--box-size={args.box_size}", f"--width={args.width}"]
    command += [f"--steps={args.steps}", f"--role={role}", f"--folder={folder}"]
    subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    return [torch.load(folder / f"{role}{rank}.pt") for rank in range(processes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--role", choices=["one", "two", "whole"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.steps <= WARMUP:
        parser.error(f"--steps must be more than the {WARMUP} to warm up")
    if args.role:
        warnings.simplefilter("ignore")
        logging.disable()
        name = f"{args.role}{os.environ.get('RANK', '0')}.pt"
        torch.save(train(args, args.role), args.folder / name)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = {role: measure(args, role, Path(folder)) for role in ("one", "two", "whole")}
    one, two = found["one"][0]["rate"], sum(part["rate"] for part in found["two"])
    first, second = (part["weights"] for part in found["two"])
    weights = found["whole"][0]["weights"]
    print(f"torch {torch.__version__}, D = {args.box_size}, width {args.width}, batch {BATCH}\n")
    print("| 1 x 1 thread, images/s | 2 x 1 thread, images/s | ratio |", end="")
    print(" ranks differ by | weights differ from one process's by | after steps |")
    print("|---|---|---|---|---|---|")
    between, from_one = (float((first - other).abs().max()) for other in (second, weights))
    print(f"| {one:.2f} | {two:.2f} | {two / one:.2f} | {between:.1e} |", end="")
    print(f" {from_one:.1e} | {args.steps} |")


if __name__ == "__main__":
    main()
