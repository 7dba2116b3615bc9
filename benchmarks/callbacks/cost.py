"""What the pose intervention costs: time of a training step with it and without.

    python benchmarks/callbacks/cost.py [--box-size 64] [--width 256] [--batch 32] [--rounds 5]

HeterogeneousReconstruction with the implicit decoder under a Trainer on the CPU, noise for images,
and PoseInterventionPenalty as its callback. An encoder that reads all coefficients inside the
circle has as many rendered for it as a training step renders, one that reads those up to half the
radius a quarter. All conditions are timed in turn, the rounds are repeated, and the ratio to the
step without intervention is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import subprocess
import time
import warnings
from functools import partial
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from cryo_disentangle.callbacks import PoseInterventionPenalty
from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules import HeterogeneousReconstruction

CONDITIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "every step": {},
    "every 4th step": {"every_n_steps": 4},
    "every step, half of the batch": {"fraction": 0.5},
    "every step, only the encoder learns": {"gradient": "encoder"},
}


class Clock(Callback):
    """Seconds from the start of one step to the start of the next, after some to warm up."""

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_batch_start(self, *_: object) -> None:
        """Notes the start of a step."""
        self.starts.append(time.perf_counter())

    def on_train_end(self, *_: object) -> None:
        """Notes the end of the last step."""
        self.starts.append(time.perf_counter())

    def seconds(self, first: int) -> float:
        """Mean time of a step from the ``first`` on."""
        return (self.starts[-1] - self.starts[first]) / (len(self.starts) - 1 - first)


def make_batch(box_size: int, count: int) -> dict[str, torch.Tensor]:
    """A batch of noise: the speed does not depend on what is in the images."""
    generator = torch.Generator().manual_seed(0)
    side = box_size + 1
    row = torch.tensor([box_size, 2.0, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
    return {
        "images": torch.randn(count, side, side, generator=generator),
        "rotation": random_rotations(count, generator=generator),
        "translation": torch.randn(count, 2, generator=generator),
        "ctf": row.repeat(count, 1),
        "index": torch.arange(count),
    }


def seconds(args: argparse.Namespace, radius: int, options: dict[str, Any] | None) -> float:
    """Time of a step under one condition."""
    torch.manual_seed(0)
    model = HeterogeneousReconstruction(
        args.box_size,
        encoder=partial(MLPEncoder, width=args.width, layers=3),
        decoder=partial(ImplicitDecoder, width=args.width, layers=3),
        encoder_radius=radius,
    )
    clock = Clock()
    callbacks: list[Callback] = [clock]
    if options is not None:
        callbacks.append(PoseInterventionPenalty(**options))
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
    batches = [make_batch(args.box_size, args.batch)] * (4 + args.steps)
    loader: DataLoader[Any] = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
    trainer.fit(model, loader)
    return clock.seconds(first=4)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=12, help="timed in a round, a multiple of 4")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    print(f"commit {commit}, torch {torch.__version__}, {torch.get_num_threads()} threads,")
    print(f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, ", end="")
    print(f"D = {args.box_size}, width {args.width}, batch {args.batch}\n")
    print("| encoder reads up to radius | intervention | ms a step | ratio |\n|---|---|---|---|")
    seconds(args, args.box_size // 2, {})  # what is done once in a process, nobody pays for
    radii = {"D / 2 (default)": args.box_size // 2, "D / 4": args.box_size // 4}
    for label, radius in radii.items():
        times: dict[str, list[float]] = {name: [] for name in CONDITIONS}
        for _ in range(args.rounds):
            for name, options in CONDITIONS.items():
                times[name].append(seconds(args, radius, options))
        for name, found in times.items():
            ratio = statistics.median(a / b for a, b in zip(found, times["none"], strict=True))
            milliseconds = 1000 * statistics.median(found)
            print(f"| {label} | {name} | {milliseconds:.0f} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
