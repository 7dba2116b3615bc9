"""Held-out reconstruction per wall time, with and without a random subset of coefficients.

    python benchmarks/training/subsampling.py [--ways 1 0.25 0.25bf16] [--seconds 600]

Three blobs, one of which moves, seen from everywhere with CTF and noise (signal-to-noise 0.1). A
way is a share of the coefficients, in single precision or Lightning's ``bf16-mixed``. Each trains
the same model (implicit decoder and encoder, width 256) from the same weights for so many seconds;
validation, in single precision, does not count. Printed is the held-out reconstruction, over all
coefficients and at the posterior means, less that of the true noise-free images, at times that grow
by the root of 2; then how much sooner each way reached what the first one ended with.
"""

from __future__ import annotations

import argparse
import statistics
import time
from functools import partial

import torch
from torch import Tensor

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.imaging import contrast_transfer
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.types import ParticleBatch

ZDIM, BATCH, PIXEL_SIZE, SNR = 2, 16, 4.0, 0.1

Curve = list[tuple[float, float]]


def make_particles(count: int, held_out: int, side: int) -> tuple[ParticleBatch, Tensor]:
    """Particles, and the noise-free transforms of the last ``held_out`` of them."""
    generator = torch.Generator().manual_seed(0)
    rotation = random_rotations(count, generator=generator)
    angle = torch.rand(count, generator=generator) * 2
    axis = torch.arange(side) - side // 2
    images = torch.zeros(count, side, side)
    reach, width = side / 6, side / 20
    arm = torch.stack([angle.cos(), angle.sin(), angle * 0], -1) * reach
    for centre in (arm, -arm[:1].expand(count, 3), arm[:1].expand(count, 3) * 0):
        seen = torch.einsum("nij,nj->ni", rotation[:, :2], centre)
        x = (-(axis - seen[:, :1]).square() / (2 * width**2)).exp()
        y = (-(axis - seen[:, 1:]).square() / (2 * width**2)).exp()
        images += y[:, :, None] * x[:, None, :]
    ctf = torch.tensor([side, PIXEL_SIZE, 0, 0, 0, 300, 2.7, 0.1, 0]).repeat(count, 1)
    ctf[:, 2:4] = 10000 + 10000 * torch.rand(count, 1, generator=generator)
    transfer = contrast_transfer(lattice_frequencies(side), ctf, side)
    clean = symmetrize(hartley2(images)) * transfer.unflatten(1, (side + 1, side + 1))
    scale = SNR**0.5 / clean.std()
    noise = symmetrize(hartley2(torch.randn(images.shape, generator=generator))) / side
    batch: ParticleBatch = {
        "images": clean * scale + noise,
        "rotation": rotation,
        "ctf": ctf,
        "index": torch.arange(count),
    }
    return batch, clean[-held_out:] * scale


def taken(particles: ParticleBatch, rows: Tensor) -> ParticleBatch:
    """Some of the particles."""
    return {key: value[rows] for key, value in particles.items()}  # type: ignore[attr-defined,return-value]


@torch.no_grad()
def held_out_excess(
    model: HeterogeneousReconstruction, held_out: ParticleBatch, clean: Tensor
) -> float:
    """Held-out reconstruction less that of the true images."""
    count = len(held_out["index"])
    total = 0.0
    for rows in torch.arange(count).split(64):
        batch = taken(held_out, rows)
        total += float(model.loss_terms(batch, step=0, sample=False)["reconstruction"]) * len(rows)
    noise = model.disc.select(held_out["images"] - clean).square().mean()
    return total / count - float(noise)


def train(
    way: str, seed: int, seconds: float, box_size: int, data: tuple[ParticleBatch, Tensor]
) -> tuple[Curve, float]:
    """Held-out reconstruction at seconds of training, and images a second."""
    particles, clean = data
    total, n_held_out = len(particles["index"]), len(clean)
    held_out = taken(particles, torch.arange(total - n_held_out, total))
    torch.manual_seed(seed)
    share, mixed = way.removesuffix("bf16"), way.endswith("bf16")
    model = HeterogeneousReconstruction(
        box_size,
        ZDIM,
        encoder=partial(MLPEncoder, width=256, layers=3),
        decoder=partial(ImplicitDecoder, width=256, layers=3),
        coefficient_share=float(share),
    )
    trainable = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=1e-4, fused=True)
    curve: Curve = []
    used, steps, due = 0.0, 0, seconds / 32
    while used < seconds:
        rows = torch.randint(total - n_held_out, (BATCH,))
        start = time.perf_counter()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            loss = model.loss_terms(taken(particles, rows), step=0, sample=True)["loss"]
        loss.backward()
        optimizer.step()
        used, steps = used + time.perf_counter() - start, steps + 1
        if used >= due:
            curve.append((used, held_out_excess(model, held_out, clean)))
            due = max(due * 2**0.5, used)
    curve.append((used, held_out_excess(model, held_out, clean)))
    return curve, steps * BATCH / used


def reached(curve: Curve, level: float) -> float:
    """First time at which a curve is at a level or below, linear between its points."""
    earlier = (0.0, float("inf"))
    for at, value in curve:
        if value <= level:
            if earlier[1] == float("inf"):
                return at
            part = (earlier[1] - level) / max(earlier[1] - value, 1e-12)
            return earlier[0] + part * (at - earlier[0])
        earlier = (at, value)
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-size", type=int, default=64)
    parser.add_argument("--ways", nargs="+", default=["1", "0.25", "0.25bf16"])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--particles", type=int, default=10000)
    parser.add_argument("--held-out", type=int, default=500)
    args = parser.parse_args()
    data = make_particles(args.particles, args.held_out, args.box_size)
    clean = data[1].square().mean()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, D = {args.box_size},")
    print(f"{args.particles} particles, mean square of the clean transforms {float(clean):.3g}\n")
    print("| way | seed | images/s | held-out excess at seconds of training |", flush=True)
    print("|---|---|---|---|", flush=True)
    curves: dict[str, list[Curve]] = {way: [] for way in args.ways}
    # Seeds outside, so that a change of the machine's speed concerns all ways.
    for seed in args.seeds:
        for way in args.ways:
            curve, rate = train(way, seed, args.seconds, args.box_size, data)
            curves[way].append(curve)
            text = ", ".join(f"{at:.0f}: {value:.3g}" for at, value in curve)
            print(f"| {way} | {seed} | {rate:.1f} | {text} |", flush=True)
    first = curves[args.ways[0]]
    levels = [curve[-1][1] for curve in first]
    print(f"\n| way | sooner than {args.ways[0]}, median (each seed) |\n|---|---|")
    for way, found in curves.items():
        ratios = [
            whole[-1][0] / reached(curve, level)
            for whole, curve, level in zip(first, found, levels, strict=True)
        ]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {way} | {statistics.median(ratios):.2f} ({each}) |")


if __name__ == "__main__":
    main()
