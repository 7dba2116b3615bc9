"""What a training step costs with each decoder: images/s, memory and share of the machine's rate.

    python benchmarks/decoders/throughput.py [--box-sizes 64 128] [--threads 1 2] [--batch 64]

A step is forward, backward and Adam, once of the decoder alone (`render` and a squared error) and
once of HeterogeneousReconstruction with an encoder of width 256 and 3 layers, CTF and translations
on. Every row is a process of its own: one step to warm up, then steps for `--seconds` (three at
least), of which the median counts. Peak memory is that process's, and in brackets what it was
before the model was made. The matrix-product rate is measured in the same process on (25,600 x 256)
x (256 x 256) in single precision.

The share of that rate is arithmetic over time of the decoder's step. Counted are multiplications
and additions that each method does forwards and backwards: of implicit decoders all matrix
products at half the points; of the basis 27 nodes and K + 1 volumes a coefficient; of atoms 3 x 3
pixels each; of the flow 36 nodes, three components and four derivatives an integrated point, and
3 x 3 pixels, three times, a voxel; of the last two Fourier transforms as well. Where arithmetic is
little, reading and adding at scattered places is what takes the time.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from cryo_disentangle.decoders import (
    AtomicDecoder,
    BasisDecoder,
    FlowDecoder,
    HingedDomains,
    ImplicitDecoder,
)
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.structures.atoms import Atoms

sys.path.append(str(Path(__file__).parents[1] / "training"))
from step_speed import product_rate, seconds

ZDIM, PIXEL_SIZE, SIGMA = 2, 2.0, 4.0
RATE_POINTS, RATE_WIDTH = 25600, 256
DECODERS = [
    "implicit 256",
    "implicit 1024",
    "basis",
    "atomic 60",
    "atomic 1656",
    "atomic 10000",
    "flow",
]
# At D = 64 a step of 64 images takes the wide network a quarter of a minute, at 128 a minute.
WIDE_BATCH, WIDE_BOX_SIZE = 16, 64


def ball(count: int, radius: float) -> Atoms:
    """Pseudo-atoms evenly in a ball, in Å."""
    generator = np.random.default_rng(0)
    direction = generator.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    position = radius * generator.random((count, 1)) ** (1 / 3) * direction
    names = np.full(count, "DUM")
    numbers = np.arange(1, count + 1)
    none = np.zeros(count, dtype=np.int64)
    chain, blank = np.full(count, "A"), np.full(count, " ")
    weights, b_factor = np.ones(count), np.full(count, 100.0)
    return Atoms(
        Path("ball"), position, none, chain, numbers, names, names, blank, weights, b_factor
    )


def atomic(box_size: int, conformation_dim: int, count: int) -> nn.Module:
    """Gaussians two thirds of which are in two domains on hinges."""
    atoms = ball(count, 0.5 * box_size * PIXEL_SIZE - 3.5 * SIGMA)
    parts = torch.arange(count).tensor_split(3)
    domains = {"first": parts[1].tolist(), "second": parts[2].tolist()}
    motion = partial(HingedDomains, domains=domains)
    return AtomicDecoder(
        box_size,
        conformation_dim,
        atoms,
        motion,
        PIXEL_SIZE,
        centre=(0, 0, 0),
        sigma_angstrom=SIGMA,
    )


def factory(name: str) -> Callable[[int, int], nn.Module]:
    """Makes a decoder from (D, Z)."""
    kind, _, size = name.partition(" ")
    if kind == "implicit":
        return partial(ImplicitDecoder, width=int(size), layers=3)
    if kind == "atomic":
        return partial(atomic, count=int(size))
    return {"basis": BasisDecoder, "flow": FlowDecoder}[kind]


def fourier(points: int, dim: int = 2) -> float:
    """Operations of a real Fourier transform of a side of points."""
    return 2.5 * points**dim * math.log2(points**dim)


def arithmetic(decoder: nn.Module, coefficients: int, batch: int) -> float:
    """Operations of a decoder's step, as the head of this file tells."""
    side = getattr(decoder, "box_size", 0)
    if isinstance(decoder, ImplicitDecoder):
        sizes = [p.numel() for p in decoder.decoder.parameters() if p.ndim == 2]
        return 2 * batch * (coefficients // 2) * (3 * sum(sizes) - sizes[0])
    if isinstance(decoder, BasisDecoder):
        # Backwards the nodes alone: poses are known.
        return batch * coefficients * 2 * (decoder.rank + 1) * (2 * 27 + 3)
    if isinstance(decoder, AtomicDecoder):
        return batch * (3 * 2 * 9 * len(decoder.reference) + 2 * fourier(3 * side // 2))
    flow = cast(FlowDecoder, decoder)
    lattice, extent = flow._matrix.shape[::-1]
    integrated = 4 * flow.steps * lattice**3 * 3 * 36 * 2 * (4 + 1)
    interpolated = 3 * 2 * 2 * (lattice**3 * extent + lattice**2 * extent**2 + lattice * extent**3)
    put_down = len(flow._voxels) * 2 * 9 * (1 + 3)
    one = integrated + interpolated + put_down + 2 * fourier(2 * side)
    return batch * one + 2 * fourier(side, 3)


def make_batch(box_size: int, count: int) -> dict[str, Tensor]:
    """A batch of noise: the speed does not depend on what is in the images."""
    generator = torch.Generator().manual_seed(0)
    side = box_size + 1
    row = torch.tensor([box_size, PIXEL_SIZE, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
    return {
        "images": torch.randn(count, side, side, generator=generator),
        "rotation": random_rotations(count, generator=generator),
        "translation": torch.randn(count, 2, generator=generator),
        "ctf": row.repeat(count, 1),
        "index": torch.arange(count),
    }


def step_time(loss: Callable[[], Tensor], module: nn.Module, limit: float) -> float:
    """Median seconds of a step."""
    optimizer = torch.optim.Adam([p for p in module.parameters() if p.requires_grad], lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    step()
    times: list[float] = []
    while len(times) < 3 or sum(times) < limit:
        times.append(seconds(step))
    return statistics.median(times)


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, box_size: int, batch: int, limit: float) -> dict[str, Any]:
    """One row."""
    torch.manual_seed(0)
    before = peak_mib()
    model = HeterogeneousReconstruction(
        box_size,
        ZDIM,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=factory(name),
        pixel_size=PIXEL_SIZE,
    )
    particles = make_batch(box_size, batch)
    conformation = torch.randn(batch, ZDIM).requires_grad_()
    target = torch.randn(batch, len(model.disc))
    rotation = particles["rotation"]

    def decoded() -> Tensor:
        rendered = model.decoder.render(conformation, rotation, model.disc)
        return nn.functional.mse_loss(rendered, target)

    def whole() -> Tensor:
        return model.loss_terms(particles, step=0, sample=True)["loss"]  # type: ignore[arg-type]

    alone = step_time(decoded, model.decoder, limit)  # type: ignore[arg-type]
    together = step_time(whole, model, limit)
    peak = peak_mib()
    measure_rate = product_rate(RATE_POINTS, RATE_WIDTH)
    measure_rate()
    rate = statistics.median(measure_rate() for _ in range(5))
    work = arithmetic(model.decoder, len(model.disc), batch)  # type: ignore[arg-type]
    return {
        "decoder": batch / alone,
        "step": batch / together,
        "before": before,
        "peak": peak,
        "rate": rate / 1e9,
        "work": work / batch / 1e6,
        "share": work / alone / rate,
        "batch": batch,
    }


def row(name: str, box_size: int, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    """Measures in a fresh process."""
    batch = min(args.batch, WIDE_BATCH) if name == "implicit 1024" else args.batch
    command = [sys.executable, __file__, "--cell", name, "--box-sizes", str(box_size)]
    command += ["--threads", str(threads), "--batch", str(batch), "--seconds", str(args.seconds)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def print_table(args: argparse.Namespace) -> None:
    """Every row as it comes."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    start = time.perf_counter()
    print(f"commit {commit}, torch {torch.__version__}, {platform.machine()}, ", end="")
    print(f"{torch.backends.cpu.get_cpu_capability()}\n")
    print(
        "| D | threads | decoder | batch | decoder alone, images/s | times implicit 256 | ", end=""
    )
    print("step, images/s | peak MiB (before) | MFLOP/image | products, GFLOP/s | share |")
    print("|---" * 11 + "|")
    for box_size in args.box_sizes:
        for threads in args.threads:
            base = math.nan
            for name in args.decoders:
                if name == "implicit 1024" and box_size > WIDE_BOX_SIZE:
                    continue
                found = row(name, box_size, threads, args)
                base = found["decoder"] if name == "implicit 256" else base
                ratio = "" if math.isnan(base) else f"{found['decoder'] / base:.1f}"
                print(
                    f"| {box_size} | {threads} | {name} | {found['batch']} | "
                    f"{found['decoder']:.1f} | {ratio} | {found['step']:.1f} | "
                    f"{found['peak']:.0f} ({found['before']:.0f}) | {found['work']:.1f} | "
                    f"{found['rate']:.0f} | {found['share']:.3f} |",
                    flush=True,
                )
    print(f"\n{time.perf_counter() - start:.0f} s in all")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--decoders", nargs="+", default=DECODERS)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0, help="a measurement takes at least")
    parser.add_argument("--cell", choices=DECODERS, help="measure this alone, in this process")
    args = parser.parse_args()
    if args.cell is None:
        print_table(args)
        return
    torch.set_num_threads(args.threads[0])
    found = measure(args.cell, args.box_sizes[0], args.batch, args.seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
