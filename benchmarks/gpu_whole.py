"""Rows of gpu.py beside the bare step: ``fit`` itself, and the statistics engine."""

from __future__ import annotations

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
from gpu_steps import PIXEL_SIZE, Case, Setting, make_batch, our_model, seconds_a_call
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from cryo_disentangle.callbacks import AtomicCheckpointIO, NonFiniteGuard, SignalCheckpoint
from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.pickles import write_ctf, write_poses
from cryo_disentangle.statistics.posterior import Likelihood, residuals
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews
from cryo_disentangle.types import ParticleBatch

_WARM, _COUNTED, _RANK = 4, 4, 10


class Fit(NamedTuple):
    """What a training by Lightning's Trainer does.

    Attributes:
        rate: Images/s from the loader to the optimiser, with the command line's callbacks.
        waits: Waits in four steps between loggings, counted by torch on a GPU; 0 on a CPU.
    """

    rate: float
    waits: int


class _Watch(Callback):
    """Times the steps in the middle of an epoch, and counts the waits of four later ones."""

    def __init__(self, steps: int) -> None:
        self._last = steps - _COUNTED - 2
        self._start = self.seconds = 0.0
        self.timed = self._last - _WARM

    def on_train_batch_end(self, trainer: L.Trainer, *given: Any) -> None:  # noqa: ANN401
        step, device = given[-1], trainer.strategy.root_device
        on_gpu = device.type == "cuda"
        if step in (_WARM, self._last):
            if on_gpu:
                torch.cuda.synchronize(device)
            now = time.perf_counter()
            self._start, self.seconds = now, now - self._start
        if on_gpu and step in (self._last, self._last + _COUNTED):
            torch.cuda.set_sync_debug_mode("warn" if step == self._last else "default")


def write_noise(folder: Path, box_size: int, count: int, pixel_size: float) -> dict[str, Any]:
    """Writes a stack of noise; returns the options of its DataModule."""
    rng = np.random.default_rng(0)
    files = {name: str(folder / name) for name in ("stack.mrcs", "poses.pkl", "ctf.pkl")}
    with MrcsWriter(files["stack.mrcs"], box_size, pixel_size) as writer:
        writer.write(rng.standard_normal((count, box_size, box_size), dtype=np.float32))
    rotation = random_rotations(count, generator=torch.Generator().manual_seed(0)).numpy()
    write_poses(files["poses.pkl"], rotation, np.zeros((count, 2), np.float32), box_size)
    row = [box_size, pixel_size, 15000, 14500, 30, 300, 2.7, 0.1, 0]
    write_ctf(files["ctf.pkl"], np.tile(np.array(row, np.float32), (count, 1)))
    return {"particles": files["stack.mrcs"], "poses": files["poses.pkl"], "ctf": files["ctf.pkl"]}


def fit(model: L.LightningModule, options: dict[str, Any], steps: int, batch_size: int) -> Fit:
    """Trains one epoch on written particles, with the command line's callbacks."""
    device = next(model.parameters()).device
    watch = _Watch(steps)
    workers = 8 if device.type == "cuda" else 0
    data = ParticleData(
        **options, batch_size=batch_size, validation_fraction=0.0, num_workers=workers
    )
    folder = str(Path(options["particles"]).parent / "run")
    quiet: dict[str, Any] = {"logger": False, "enable_model_summary": False}
    trainer = L.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        precision="bf16-mixed",
        log_every_n_steps=10**9,
        enable_progress_bar=False,
        default_root_dir=folder,
        plugins=[AtomicCheckpointIO()],
        callbacks=[watch, NonFiniteGuard(), SignalCheckpoint(), ModelCheckpoint(save_last=True)],
        **quiet,
    )
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        trainer.fit(model, datamodule=data)
    waits = sum("synchroniz" in str(warning.message) for warning in told)
    return Fit(watch.timed * batch_size / watch.seconds, waits)


def fit_line(
    model: L.LightningModule, box_size: int, batch_size: int, steps: int, pixel_size: float
) -> tuple[str, float]:
    """The row of ``fit``, and its images/s."""
    with tempfile.TemporaryDirectory() as folder:
        options = write_noise(Path(folder), box_size, steps * batch_size, pixel_size)
        found = fit(model, options, steps, batch_size)
    return f"| fit, D = {box_size}, bf16 | {found.rate:.1f} | {found.waits} |", found.rate


def statistics_pass(
    batch: ParticleBatch, box_size: int, pixel_size: float, device: torch.device
) -> Callable[[], Tensor]:
    """The statistics of a batch of images that lie on the device."""
    radius = box_size // 2 - 2
    nodes = torch.randn((2 * radius + 3) ** 3, _RANK + 1)
    subspace = Subspace(nodes, torch.ones(radius + 1), box_size, pixel_size, radius)
    paired, noise = subspace.paired.to(device), subspace.point_noise.to(device)
    grid = subspace.grid.to(device)

    @torch.no_grad()
    def step() -> Tensor:
        views = ParticleViews.of(batch, grid.disc, box_size).whitened(noise)
        seen = residuals(grid, paired, views)
        return Likelihood.of(seen.columns).offset

    return step


def statistics_step(count: int, box_size: int, device: torch.device) -> Callable[[], Tensor]:
    """A training step on statistics of ten volumes."""
    torch.manual_seed(0)
    decoder = BasisDecoder(box_size, 2, _RANK, hidden=32, layers=1)
    model: nn.Module = StatisticsModel(decoder, 2).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    root = torch.randn(count, _RANK, _RANK, device=device)
    batch: dict[str, Tensor] = {
        "precision": root @ root.mT,
        "information": torch.randn(count, _RANK, device=device),
        "offset": torch.ones(count, device=device),
        "index": torch.arange(count, device=device),
        "rotation": random_rotations(count).to(device),
    }

    def step() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = model.loss_terms(batch, step=0, sample=True)["loss"]  # type: ignore[operator]
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def whole(setting: Setting, counts: dict[int, int], found: dict[Case, float]) -> None:
    """Prints the rows of ``fit`` and of statistics."""
    device, steps = setting.device, 64 if setting.device.type == "cuda" else 14
    print("\n| what | images/s | waits in 4 steps |\n|---|---|---|")
    for box_size, count in counts.items():
        case = Case(box_size, "ours", "bf16")
        try:
            line, rate = fit_line(our_model(case, setting), box_size, count, steps, PIXEL_SIZE)
        except Exception as error:
            line, rate = f"| fit, D = {box_size} | {type(error).__name__}: {error} | |", 0.0
        bare = found.get(case)
        print(line + (f" {100 * rate / bare:.0f} % of the bare step" if bare else ""), flush=True)
    box_size = min(counts)
    made = {
        f"statistics pass, D = {box_size}": statistics_pass(
            make_batch(box_size, counts[box_size], device), box_size, PIXEL_SIZE, device
        ),
        "step on statistics": statistics_step(counts[box_size], box_size, device),
    }
    for name, step in made.items():
        taken = seconds_a_call(step, device, setting.seconds)
        print(f"| {name} | {counts[box_size] / taken:.1f} | |", flush=True)
