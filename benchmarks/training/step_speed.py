"""Training step of the same architecture, ours against cryoDRGN's, side by side in one process.

    python benchmarks/training/step_speed.py [--box-sizes 64 128] [--widths 256 1024] [--repeats 5]

Both start from the same weights and take the same batches of 8 images (Fourier domain, Gaussian
encoding, CTF and translations on); one step is preprocessing from Hartley transforms on, forward,
backward and Adam. Ours is timed in single precision, as cryoDRGN's is on a CPU, and as Lightning's
``bf16-mixed``. cryoDRGN 4.3.1 is skipped where it can't be imported. The matrix-product rate is
measured in the same run on (points x width) x (width x width), and ours is also given as a share of
it: the arithmetic of the step that no exact method can avoid, divided by the time of the step.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.types import ParticleBatch

BATCH, ZDIM, LAYERS, PIXEL_SIZE = 8, 8, 3, 2.0


def make_batch(box_size: int, seed: int = 0) -> ParticleBatch:
    """A batch of noise: the speed does not depend on what is in the images."""
    generator = torch.Generator().manual_seed(seed)
    side = box_size + 1
    row = torch.tensor([box_size, PIXEL_SIZE, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
    return {
        "images": torch.randn(BATCH, side, side, generator=generator),
        "rotation": random_rotations(BATCH, generator=generator),
        "translation": torch.randn(BATCH, 2, generator=generator),
        "ctf": row.repeat(BATCH, 1),
        "index": torch.arange(BATCH),
    }


def our_step(
    box_size: int, width: int, *, bf16: bool
) -> tuple[Callable[[], float], HeterogeneousReconstruction]:
    """A training step of ours, and the model."""
    model = HeterogeneousReconstruction(
        box_size,
        ZDIM,
        encoder=partial(MLPEncoder, width=width, layers=LAYERS),
        decoder=partial(ImplicitDecoder, width=width, layers=LAYERS),
    )
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    batch = make_batch(box_size)

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = model.loss_terms(batch, step=0, sample=True)["loss"]
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step, model


def cryodrgn_step(box_size: int, width: int, weights: dict[str, Tensor]) -> Callable[[], float]:
    """A training step of cryoDRGN's own functions, from the given weights."""
    from cryodrgn.commands import train_vae
    from cryodrgn.lattice import Lattice
    from cryodrgn.models import HetOnlyVAE

    lattice = Lattice(box_size + 1, extent=0.5, device=torch.device("cpu"))
    mask = lattice.get_circular_mask(box_size // 2)
    model = HetOnlyVAE(
        lattice,
        LAYERS,
        width,
        LAYERS,
        width,
        in_dim=int(mask.sum()),
        zdim=ZDIM,
        encode_mode="resid",
        enc_mask=mask,
        enc_type="gaussian",
        domain="fourier",
        activation=torch.nn.ReLU,
        feat_sigma=0.5,
    )
    model.load_state_dict(weights)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch = make_batch(box_size)
    params = batch["ctf"][:, 1:].clone()
    model.train()

    def step() -> float:
        optimizer.zero_grad()
        y = batch["images"]
        y = lattice.translate_ht(y.view(BATCH, -1), batch["translation"].unsqueeze(1))
        y = y.view(BATCH, box_size + 1, box_size + 1)
        z_mu, z_logvar, _, y_recon, recon_mask = train_vae.run_batch(
            model, lattice, y, batch["rotation"], None, params
        )
        loss, _, _ = train_vae.loss_function(
            z_mu, z_logvar, y, None, y_recon, recon_mask, 1.0 / ZDIM, None
        )
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def arithmetic(model: HeterogeneousReconstruction) -> float:
    """Floating-point operations of a step that exact training needs: products of the networks.

    Each weight is used forwards, for its own gradient and, but for the first layer's features, for
    its input's gradient, at every point of half the slice (decoder) or once an image (encoder).
    """
    decoder, encoder = model.decoder.decoder, model.encoder  # type: ignore[attr-defined]
    first_d, first_e = decoder.main[0].weight.numel(), encoder.main[0].weight.numel()
    total_d = sum(p.numel() for p in decoder.parameters() if p.ndim == 2)
    total_e = sum(p.numel() for p in encoder.parameters() if p.ndim == 2)
    points = BATCH * (len(model.disc) // 2)
    return 2 * points * (3 * total_d - first_d) + 2 * BATCH * (3 * total_e - first_e)


def seconds(function: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def product_rate(points: int, width: int) -> Callable[[], float]:
    """Measures the machine's matrix-product rate in flop/s."""
    a, b = torch.randn(points, width), torch.randn(width, width)
    out = torch.empty(points, width)
    repeats = max(1, int(2e9 / (points * width * width)))

    def measure() -> float:
        return (
            2
            * points
            * width
            * width
            * repeats
            / seconds(lambda: [torch.mm(a, b, out=out) for _ in range(repeats)])
        )

    return measure


def compare(box_size: int, width: int, repeats: int) -> str:
    """One row of the table: medians over interleaved repeats."""
    torch.manual_seed(0)
    step, model = our_step(box_size, width, bf16=False)
    mixed, other_model = our_step(box_size, width, bf16=True)
    other_model.load_state_dict(model.state_dict())
    try:
        weights = {k: v.clone() for k, v in model.state_dict().items()}
        other: Callable[[], float] | None = cryodrgn_step(box_size, width, weights)
    except ImportError:
        other = None
    rate = product_rate(BATCH * (len(model.disc) // 2), width)
    losses = []
    for each in (step, mixed, other):
        if each is not None:
            torch.manual_seed(1)
            losses.append(each())
    rate()
    ours, ours_mixed, theirs, rates = [], [], [], []
    for _ in range(repeats):
        ours.append(seconds(step))
        ours_mixed.append(seconds(mixed))
        if other is not None:
            theirs.append(seconds(other))
        rates.append(rate())
    median = statistics.median(ours)
    share = arithmetic(model) / median / statistics.median(rates)
    row = f"| {box_size} | {width} | {BATCH / median:.2f} | "
    row += f"{BATCH / statistics.median(ours_mixed):.2f} | "
    if other is None:
        row += "absent | | | "
    else:
        ratios = [
            statistics.median(b / a for a, b in zip(mine, theirs, strict=True))
            for mine in (ours, ours_mixed)
        ]
        row += f"{BATCH / statistics.median(theirs):.2f} | {ratios[0]:.2f} | {ratios[1]:.2f} | "
    row += f"{statistics.median(rates) / 1e9:.0f} | {share:.2f} | "
    return row + " / ".join(f"{loss:.5f}" for loss in losses) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--box-sizes", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    print(f"commit {commit}, torch {torch.__version__}, {torch.get_num_threads()} threads,")
    print(f"{platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, batch {BATCH}\n")
    print("| D | width | ours, images/s | ours, bf16-mixed | cryoDRGN, images/s | ratio |", end="")
    print(" ratio, bf16-mixed | products, GFLOP/s | our share |", end="")
    print(" first loss, ours / bf16-mixed / cryoDRGN |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for width in args.widths:
        for box_size in args.box_sizes:
            print(compare(box_size, width, args.repeats), flush=True)


if __name__ == "__main__":
    main()
