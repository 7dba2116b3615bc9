"""Training steps that gpu.py times, ours and cryoDRGN's."""

from __future__ import annotations

import statistics
import sys
import time
import types
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.losses import PoseIntervention
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.types import ParticleBatch

ZDIM, LAYERS, PIXEL_SIZE = 8, 3, 2.0
Step = Callable[[], Tensor]


class Case(NamedTuple):
    """One row of the table."""

    box_size: int
    who: str
    precision: str
    compiled: bool = False
    intervention: bool = False


class Setting(NamedTuple):
    """What all rows share."""

    device: torch.device
    width: int
    seconds: float


def make_batch(box_size: int, count: int, device: torch.device) -> ParticleBatch:
    """Noise: the speed does not depend on what is in the images."""
    generator = torch.Generator().manual_seed(0)
    side = box_size + 1
    row = torch.tensor([box_size, PIXEL_SIZE, 15000.0, 14500.0, 30.0, 300.0, 2.7, 0.1, 0.0])
    return {
        "images": torch.randn(count, side, side, generator=generator).to(device),
        "rotation": random_rotations(count, generator=generator).to(device),
        "translation": torch.randn(count, 2, generator=generator).to(device),
        "ctf": row.repeat(count, 1).to(device),
        "index": torch.arange(count, device=device),
    }


def our_model(case: Case, setting: Setting) -> HeterogeneousReconstruction:
    """The model of a row."""
    torch.manual_seed(0)
    network = {"width": setting.width, "layers": LAYERS}
    return HeterogeneousReconstruction(
        case.box_size,
        ZDIM,
        encoder=partial(MLPEncoder, **network),
        decoder=partial(ImplicitDecoder, **network),
        penalties={"intervention": PoseIntervention()} if case.intervention else None,
        compile=case.compiled,
    ).to(setting.device)


def adam(model: torch.nn.Module, device: torch.device) -> torch.optim.Optimizer:
    """Adam, in one kernel where there is one."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.Adam(trained, lr=1e-4, fused=device.type == "cuda")


def our_step(case: Case, setting: Setting, count: int) -> Step:
    """A training step of ours."""
    model, device = our_model(case, setting), setting.device
    optimizer, batch = adam(model, device), make_batch(case.box_size, count, device)

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=case.precision == "bf16"):
            loss = model.loss_terms(batch, step=0, sample=True)["loss"]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def cryodrgn_step(case: Case, setting: Setting, count: int) -> Step:
    """A training step of cryoDRGN's own functions."""
    # Which imports pandas and seaborn, and is not called here.
    for name in ("cryodrgn.commands.analyze", "cryodrgn.analysis"):
        sys.modules.setdefault(name, types.ModuleType(name))
    from cryodrgn.commands import train_vae
    from cryodrgn.lattice import Lattice
    from cryodrgn.models import HetOnlyVAE

    device, width, side = setting.device, setting.width, case.box_size + 1
    lattice = Lattice(side, extent=0.5, device=device)
    mask = lattice.get_circular_mask(case.box_size // 2)
    torch.manual_seed(0)
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
    ).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    batch = make_batch(case.box_size, count, device)
    params = batch["ctf"][:, 1:].clone()
    amp = case.precision == "amp"
    scaler = torch.amp.GradScaler(device.type, enabled=amp)
    model.train()

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.float16) if amp else nullcontext():
            y = lattice.translate_ht(
                batch["images"].view(count, -1), batch["translation"].unsqueeze(1)
            ).view(count, side, side)
            z_mu, z_logvar, _, y_recon, y_mask = train_vae.run_batch(
                model, lattice, y, batch["rotation"], None, params
            )
            loss, _, _ = train_vae.loss_function(
                z_mu, z_logvar, y, None, y_recon, y_mask, 1.0 / ZDIM, None
            )
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss.detach()

    return step


def arithmetic(case: Case, setting: Setting) -> float:
    """Floating-point operations an image of a step that exact training can't avoid.

    Each weight is used forwards, for its own gradient and, but for the first layer's features, for
    its input's gradient, at every point of half the slice (decoder) or once an image (encoder). An
    intervention renders and encodes once more, and there the encoder's input has a gradient too.
    """
    model = our_model(case, setting._replace(device=torch.device("cpu")))
    networks = (model.decoder.decoder, model.encoder)  # type: ignore[attr-defined]
    once = []
    for network, points in zip(networks, (len(model.disc) // 2, 1), strict=True):
        weights = [p.numel() for p in network.parameters() if p.ndim == 2]
        once.append((2 * points * 3 * sum(weights), 2 * points * weights[0]))
    (decoder, features), (encoder, images) = once
    return (
        decoder - features + encoder - images + case.intervention * (decoder - features + encoder)
    )


def synchronise(device: torch.device) -> None:
    """Waits for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_a_call(call: Callable[[], object], device: torch.device, seconds: float) -> float:
    """Median over five parts of a stretch of time, after two calls to warm up."""
    call()
    call()
    synchronise(device)
    start = time.perf_counter()
    call()
    synchronise(device)
    repeats = max(1, int(seconds / 5 / (time.perf_counter() - start)))
    parts = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        synchronise(device)
        parts.append((time.perf_counter() - start) / repeats)
    return statistics.median(parts)
