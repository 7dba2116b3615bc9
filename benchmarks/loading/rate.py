"""How fast particles are read and prepared, beside how fast a training step takes them.

    python benchmarks/loading/rate.py [--box-size 128] [--images 4000] [--folder DIR] [--cold]

Writes a stack of noise and goes through it in batches of 64: images only read, preprocessed as
models take them, in each order (front to back, shuffled in blocks, shuffled), and from a float16
memory map of the preprocessed images. ``--cold`` drops the stack from the page cache before each
order, so that the disk is measured. Last comes the training step of the default model, 1024 x 3
layers in encoder and decoder, and of width 256, on one batch of 8.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.blocks import BlockShuffledEpochs
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.sampling import ShuffledEpochs
from cryo_disentangle.types import ParticleBatch

BATCH, BLOCK, CHUNK = 64, 64, 500


def write_stack(path: Path, count: int, box_size: int) -> None:
    """A stack of noise."""
    rng = np.random.default_rng(0)
    with MrcsWriter(path, box_size, 1.0) as writer:
        for start in range(0, count, CHUNK):
            size = (min(CHUNK, count - start), box_size, box_size)
            writer.write(rng.standard_normal(size, dtype=np.float32))


def drop_from_cache(path: Path) -> None:
    """Makes the next reading come from the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def batches(order: Iterable[int]) -> Iterator[list[int]]:
    """Indices in batches."""
    indices = iter(order)
    while batch := list(islice(indices, BATCH)):
        yield batch


def orders(stack: ParticleStack) -> dict[str, Iterable[int]]:
    """Orders by name."""
    rows = np.arange(len(stack))
    blocks = BlockShuffledEpochs(rows, 0, BLOCK, prefetch=stack.prefetch)
    return {
        "front to back": range(len(stack)),
        f"shuffled in blocks of {BLOCK}": blocks,
        "shuffled": ShuffledEpochs(rows, 0),
    }


def measure_loading(path: Path, *, cold: bool) -> None:
    """Prints a row for each order."""
    stack = ParticleStack.open(path)
    dataset = ParticleDataset(stack)
    print("| order | read, images/s | read and prepared, images/s |\n|---|---|---|")
    for name, order in orders(stack).items():
        rates = []
        for deliver in (stack.read, dataset.__getitems__):
            if cold:
                drop_from_cache(path)
            start = time.perf_counter()
            for batch in batches(order):
                deliver(batch)
            rates.append(len(stack) / (time.perf_counter() - start))
        print(f"| {name} | {rates[0]:.0f} | {rates[1]:.0f} |", flush=True)


def measure_cache(path: Path, *, cold: bool) -> None:
    """Prints what a float16 copy of the preprocessed images would give."""
    stack = ParticleStack.open(path)
    dataset = ParticleDataset(stack)
    target = path.with_suffix(".float16.npy")
    side = stack.box_size + 1
    cache = np.lib.format.open_memmap(
        target, mode="w+", dtype=np.float16, shape=(len(stack), side, side)
    )
    error = 0.0
    for batch in batches(range(len(stack))):
        images = dataset.__getitems__(batch)["images"]
        cache[batch] = images.numpy()
        difference = images - torch.from_numpy(cache[batch].astype(np.float32))
        error = max(error, float(difference.std() / images.std()))
    cache.flush()
    if cold:
        drop_from_cache(target)
    start = time.perf_counter()
    for batch in batches(ShuffledEpochs(np.arange(len(stack)), 0)):
        torch.from_numpy(cache[batch]).float()
    rate = len(stack) / (time.perf_counter() - start)
    size = target.stat().st_size / path.stat().st_size
    print(f"\nfloat16 cache, shuffled: {rate:.0f} images/s, {size:.2f} of the stack's size,")
    print(f"relative error {error:.1e}")


def measure_step(box_size: int, width: int, repeats: int = 5) -> float:
    """Images a second of a training step."""
    model = HeterogeneousReconstruction(
        box_size,
        8,
        encoder=partial(MLPEncoder, width=width, layers=3),
        decoder=partial(ImplicitDecoder, width=width, layers=3),
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    row = torch.tensor([box_size, 2.0, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
    batch: ParticleBatch = {
        "images": torch.randn(8, box_size + 1, box_size + 1),
        "rotation": random_rotations(8),
        "ctf": row.repeat(8, 1),
        "index": torch.arange(8),
    }
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        optimizer.zero_grad()
        model.loss_terms(batch, step=0, sample=True)["loss"].backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return 8 / statistics.median(times[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--folder", type=Path, help="where the stack is written for a while")
    parser.add_argument("--widths", type=int, nargs="*", default=[256, 1024])
    parser.add_argument("--cold", action="store_true", help="measure the disk")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, D = {args.box_size},")
    print(f"{args.images} images, {'from the disk' if args.cold else 'in the page cache'}\n")
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        path = Path(folder) / "stack.mrcs"
        write_stack(path, args.images, args.box_size)
        measure_loading(path, cold=args.cold)
        measure_cache(path, cold=args.cold)
    for width in args.widths:
        print(f"training step, width {width}: {measure_step(args.box_size, width):.1f} images/s")


if __name__ == "__main__":
    main()
