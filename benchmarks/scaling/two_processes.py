"""Two processes of one thread against one: images/s, and the same weights after k steps.

    python benchmarks/scaling/two_processes.py [--box-size 64] [--width 256] [--steps 30]

Forks processes (Linux) with one batch size in each, timed over all but the first steps: one
process; two under ddp; two that know nothing of each other, which is what the machine's two
cores can give at most; and one with the batches of both. The first three are repeated in turn, the
medians count. Batches are made beforehand and are in memory; the posterior's mean is decoded, so
that a step is the same whoever takes it. Each process has a core of its own. The weights of
two processes are compared with those of one that saw both batches at once, after 10 steps. Run it
on an idle machine.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import socket
import statistics
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

ZDIM, LAYERS, WARMUP, COMPARED = 8, 3, 3, 10


class MeanReconstruction(HeterogeneousReconstruction):
    """Trains from the posterior's mean, without random numbers."""

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        """Evaluates the loss."""
        return self.loss_terms(batch, step=0, sample=False)["loss"]


class Clock(Callback):
    """Times all but the first steps, and keeps the weights after some."""

    def __init__(self) -> None:
        self._start, self.seconds = 0.0, 0.0
        self.weights = torch.empty(0)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Reads the clock."""
        if trainer.global_step == WARMUP:
            self._start = time.perf_counter()
        if trainer.global_step == COMPARED:
            self.weights = torch.cat([p.detach().flatten() for p in pl_module.parameters()])
        self.seconds = time.perf_counter() - self._start


def make_batches(args: argparse.Namespace, parts: list[int]) -> list[ParticleBatch]:
    """The same batches for everybody: of each step the parts that are asked for."""
    box_size, batch = args.box_size, args.batch
    batches = []
    for step in range(args.steps):
        drawn = []
        for part in parts:
            generator = torch.Generator().manual_seed(2 * step + part)
            row = torch.tensor([box_size, 3.0, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
            drawn.append(
                {
                    "images": torch.randn(batch, box_size + 1, box_size + 1, generator=generator),
                    "rotation": random_rotations(batch, generator=generator),
                    "translation": torch.randn(batch, 2, generator=generator),
                    "ctf": row.repeat(batch, 1),
                    "index": torch.arange(batch),
                }
            )
        batches.append({key: torch.cat([each[key] for each in drawn]) for key in drawn[0]})
    return batches  # type: ignore[return-value]


def train(args: argparse.Namespace, role: str) -> dict[str, Any]:
    """What one process of a role measures, and its weights."""
    torch.set_num_threads(1)
    rank = int(os.environ.get("RANK", "0"))
    # Processes that wait for each other pay for every move of either to another core.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
    parts = {"one": [0], "two": [rank], "apart": [rank], "whole": [0, 1]}[role]
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
    batches = make_batches(args, parts)
    trainer.fit(model, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return {
        "rate": args.batch * (args.steps - WARMUP) / clock.seconds,
        "weights": clock.weights,
    }


def work(args: argparse.Namespace, role: str, rank: int, folder: Path) -> None:
    """Trains in this process, and writes what it found."""
    os.environ["RANK"] = str(rank)
    if role == "two":
        os.environ["LOCAL_RANK"] = str(rank)
    torch.save(train(args, role), folder / f"{role}{rank}.pt")


def measure(args: argparse.Namespace, role: str, folder: Path) -> list[dict[str, Any]]:
    """Runs the processes of a role; returns what they found."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = range(2 if role in ("two", "apart") else 1)
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=work, args=(args, role, rank, folder)) for rank in ranks]
    for process in started:
        process.start()
    for process in started:
        process.join()
    if any(process.exitcode for process in started):
        raise SystemExit(f"{role}: a process failed")
    return [torch.load(folder / f"{role}{rank}.pt") for rank in ranks]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=8, help="of each process")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    if args.steps < COMPARED:
        parser.error(f"--steps must be at least {COMPARED}")
    warnings.simplefilter("ignore")
    logging.disable()
    torch.set_num_threads(1)
    rates: dict[str, list[float]] = {"one": [], "two": [], "apart": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for _ in range(args.repeats):
            for role, found in rates.items():
                found.append(sum(part["rate"] for part in measure(args, role, folder)))
        first, second = (torch.load(folder / f"two{rank}.pt")["weights"] for rank in range(2))
        whole = measure(args, "whole", folder)[0]["weights"]
    one, two, apart = (statistics.median(found) for found in rates.values())
    between, from_one = (float((first - other).abs().max()) for other in (second, whole))
    print(f"torch {torch.__version__}, D = {args.box_size}, width {args.width}, ", end="")
    print(f"batch {args.batch} in each process, {args.repeats} repeats of {args.steps} steps\n")
    print("| one process, images/s | two | ratio | two that exchange nothing | ratio |", end="")
    print(f" ranks differ by | weights after {COMPARED} steps differ from one process's by |")
    print("|---|---|---|---|---|---|---|")
    print(f"| {one:.2f} | {two:.2f} | {two / one:.2f} | {apart:.2f} | {apart / one:.2f} |", end="")
    print(f" {between:.1e} | {from_one:.1e} |")


if __name__ == "__main__":
    main()
