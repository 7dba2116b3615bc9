"""Rows of gpu.py beside training, and every part of a model in a strict step."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from pathlib import Path

import torch
from gpu_steps import LAYERS, ZDIM, Setting, adam, make_batch, seconds_a_call
from torch import Tensor

from cryo_disentangle.decoders import BasisDecoder, ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder, RenderedPosterior
from cryo_disentangle.metrics import DisentanglementMetrics
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.output import simulate_chunks

__all__ = ["beside", "strict_parts"]

# The table of parts is in the tests, which no installation puts on the path.
sys.path.append(str(Path(__file__).parents[1]))


def basis_step(box_size: int, count: int, setting: Setting) -> Callable[[], Tensor]:
    """A training step with ten explicit volumes."""
    device = setting.device
    model = HeterogeneousReconstruction(
        box_size,
        ZDIM,
        partial(MLPEncoder, width=setting.width, layers=LAYERS),
        partial(BasisDecoder, rank=10),
    ).to(device)
    optimizer, batch = adam(model, device), make_batch(box_size, count, device)

    def step() -> Tensor:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16):
            loss = model.loss_terms(batch, step=0, sample=True)["loss"]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def rendering(box_size: int, count: int, setting: Setting) -> Callable[[], Tensor]:
    """Posteriors by rendering: a grid of two coordinates, and Newton's method."""
    network = {"width": setting.width, "layers": LAYERS}
    model = HeterogeneousReconstruction(
        box_size,
        2,
        partial(RenderedPosterior, grid=(-1.0, 0.0, 1.0), starts=2),
        partial(ImplicitDecoder, **network),
    ).to(setting.device)
    batch = make_batch(box_size, count, setting.device)

    @torch.no_grad()
    def infer() -> Tensor:
        return model.infer(batch).mean

    return infer


def metrics(particles: int, device: torch.device) -> float:
    """Seconds that scores of latents on the device take at the end of an epoch."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(particles, 3, generator=generator)
    mixed = factors @ torch.randn(3, ZDIM, generator=generator)
    metric = DisentanglementMetrics().to(device)
    metric.update(mixed.to(device), factors.to(device))
    start = time.perf_counter()
    metric.compute()
    return time.perf_counter() - start


def simulated(box_size: int, images: int) -> float:
    """Images/s of the simulator on the host's cores."""
    microscope = Microscope(
        UniformViews(), NormalShifts(0.5), ContrastTransferRange(), WhiteNoise(0.1)
    )
    pixel_size = 140.0 / box_size
    sizes = (images, box_size, pixel_size)
    simulation = Simulation(TwoArms(), UniformFactors(2, 0.0, 1.0), microscope, *sizes, seed=0)
    start = time.perf_counter()
    for _ in simulate_chunks(simulation):
        pass
    return images / (time.perf_counter() - start)


def beside(setting: Setting, counts: dict[int, int], end: float) -> None:
    """Prints rows of what is done beside training; begins none after a time."""
    print("\n| what | |\n|---|---|")
    for box_size, count in counts.items():
        for name, make in (("basis step, bf16", basis_step), ("rendering inference", rendering)):
            if time.monotonic() > end:
                print(f"| {name}, D = {box_size} | left out: no time |")
                continue
            try:
                taken = seconds_a_call(
                    make(box_size, count, setting), setting.device, setting.seconds
                )
                words = f"{count / taken:.1f} images/s"
            except Exception as error:
                words = f"{type(error).__name__}: {error}"
            print(f"| {name}, D = {box_size} | {words} |", flush=True)
    few = setting.device.type != "cuda"
    particles, images = (100, 50) if few else (10_000, 2000)
    print(f"| metrics of {particles:,} particles | {metrics(particles, setting.device):.2f} s |")
    print(f"| simulator, D = 128 | {simulated(128, images):.1f} images/s |", flush=True)


def strict_parts(device: torch.device, end: float) -> None:
    """Trains every part of the tests' table for two steps; the second must not wait on a GPU."""
    from tests.device_parts import PARTS

    names = list(PARTS) if device.type == "cuda" else list(PARTS)[::20]
    told, tried = [], 0
    for name in names:
        for half in (False, True):
            if time.monotonic() < end:
                tried += 1
                try:
                    _strict_steps(deepcopy(PARTS[name]), device, half)
                except Exception as error:
                    reason = str(error).strip().splitlines()[0][:160]
                    told.append(f"- {name}, {'bf16' if half else 'fp32'}: {reason}")
    print(f"\n{tried - len(told)} of {2 * len(names)} parts train without waiting, {tried} tried")
    print("\n".join(told), flush=True)


def _strict_steps(options: dict[str, object], device: torch.device, half: bool) -> None:
    """Two steps of a part."""
    from tests.device_parts import make_part_batch
    from tests.small_model import make_model

    kind = str(options.pop("batch", ""))
    batch = {key: value.to(device) for key, value in make_part_batch(kind).items()}  # type: ignore[attr-defined]
    model = make_model(**options).to(device)
    optimizer = adam(model, device)
    on_gpu = device.type == "cuda"
    for step in range(2):
        if on_gpu and step:
            torch.cuda.set_sync_debug_mode("error")
        try:
            model.begin_step(step)
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                loss = model.loss_terms(batch, step=step, sample=True)["loss"]  # type: ignore[arg-type]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        finally:
            if on_gpu:
                torch.cuda.set_sync_debug_mode("default")
    if not math.isfinite(float(loss.detach())):
        raise ValueError("the loss is not finite")
