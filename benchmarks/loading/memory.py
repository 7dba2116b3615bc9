"""Peak memory of training on a large stack against a small one.

    python benchmarks/loading/memory.py [--sizes 200M 20G] [--steps 40]

Each stack is sparse, one value in each image and holes elsewhere, so that 20 GiB need 1.3 GiB of
the disk. Each size is trained on in a process of its own, whose peaks of memory are printed
(Linux): anonymous memory, which is the process's, and pages of mapped files, which the operating
system takes back when it needs them.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import lightning as L
import numpy as np
from resident import ResidentPeaks

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.files.stacks import stack_header
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.pickles import write_poses

SIDE, BATCH = 128, 16


def parse_size(text: str) -> int:
    """Bytes of, for example, ``200M``."""
    return int(float(text[:-1]) * 2 ** {"M": 20, "G": 30}[text[-1]])


def write_sparse(folder: Path, size: int) -> int:
    """A stack of holes with a value in each image, and poses."""
    image_bytes = SIDE * SIDE * 4
    count = size // image_bytes
    with (folder / "stack.mrcs").open("wb") as file:
        file.write(stack_header(count, SIDE, 1.0))
        file.truncate(1024 + count * image_bytes)
        for image in range(count):
            file.seek(1024 + image * image_bytes)
            file.write(np.float32(1 + image % 7).tobytes())
    rotation = np.tile(np.eye(3, dtype=np.float32), (count, 1, 1))
    write_poses(folder / "poses.pkl", rotation, np.zeros((count, 2), np.float32), SIDE)
    return count


def train(folder: Path, steps: int) -> None:
    """Trains a small model and prints the peaks, and what metadata take."""
    warnings.filterwarnings("ignore")
    with ResidentPeaks() as peaks:
        data = ParticleData(
            folder / "stack.mrcs",
            poses=folder / "poses.pkl",
            batch_size=BATCH,
            validation_fraction=0.01,
        )
        model = HeterogeneousReconstruction(
            data.box_size,
            8,
            encoder=partial(MLPEncoder, width=64, layers=1),
            decoder=partial(ImplicitDecoder, width=16, layers=1),
        )
        trainer = L.Trainer(
            accelerator="cpu",
            devices=1,
            max_steps=steps,
            limit_val_batches=2,
            val_check_interval=steps,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(model, datamodule=data)
    print(json.dumps([peaks.anonymous, peaks.mapped]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--sizes", nargs="+", default=["200M", "20G"])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the stacks are written for a while")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.train:
        train(args.train, args.steps)
        return
    print("| stack | images | anonymous memory, MiB | mapped files, MiB | seconds |")
    print("|---|---|---|---|---|")
    peaks = []
    for size in args.sizes:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            start = time.perf_counter()
            count = write_sparse(Path(folder), parse_size(size))
            done = subprocess.run(
                [sys.executable, __file__, "--train", folder, "--steps", str(args.steps)],
                capture_output=True,
                text=True,
                check=False,
            )
            seconds = time.perf_counter() - start
        if done.returncode:
            sys.exit(done.stderr)
        anonymous, mapped = json.loads(done.stdout.splitlines()[-1])
        peaks.append(anonymous)
        print(f"| {size} | {count} | {anonymous:.0f} | {mapped:.0f} | {seconds:.0f} |", flush=True)
    print(f"\nanonymous memory, last over first: {peaks[-1] / peaks[0]:.3f}")


if __name__ == "__main__":
    main()
