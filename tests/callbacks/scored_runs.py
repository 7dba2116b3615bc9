"""Small runs whose models are scored while they are trained; for one process and two."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    Microscope,
    NormalShifts,
    SimulatedParticles,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from tests.callbacks import foreign

PIXEL_SIZE = 8.5


def simulation(seed: int = 0, n_images: int = 40, **options: Any) -> Simulation:
    """Two arms in images of the size that the user's model takes, too."""
    microscope = Microscope(
        UniformViews(), NormalShifts(0.5), ContrastTransferRange(), WhiteNoise(0.5)
    )
    settings: dict[str, Any] = {"box_size": foreign.SIDE, "pixel_size": PIXEL_SIZE} | options
    return Simulation(
        TwoArms(), UniformFactors(2), microscope, n_images=n_images, seed=seed, **settings
    )


def data(validation_images: int = 31, batch_size: int = 10) -> SimulatedParticles:
    """Simulated particles, whose validation batches are uneven."""
    return SimulatedParticles(
        simulation(), batch_size=batch_size, validation_images=validation_images
    )


def model(learning_rate: float = 3e-3) -> HeterogeneousReconstruction:
    """A small model with the same weights each time."""
    torch.manual_seed(0)
    return HeterogeneousReconstruction(
        foreign.SIDE,
        2,
        partial(MLPEncoder, width=16, layers=1),
        partial(ImplicitDecoder, width=16, layers=1),
        optimizer=partial(torch.optim.Adam, lr=learning_rate),
    )


class Validated(foreign.ConvolutionalVAE):
    """The user's model with a validation of its own."""

    def validation_step(self, batch: tuple[Tensor, ...], batch_idx: int) -> None:  # noqa: ARG002
        self.log("val/mean", self.encode(batch[0])[0].mean(), sync_dist=True)


def user_model(learning_rate: float = 1e-3, *, validated: bool = True) -> foreign.ConvolutionalVAE:
    """The user's model with the same weights each time."""
    torch.manual_seed(0)
    kind = Validated if validated else foreign.ConvolutionalVAE
    return kind(learning_rate=learning_rate)


def user_loader(count: int = 31, batch_size: int = 10) -> DataLoader[Any]:
    """A user's batches, whose particles nobody has numbered."""
    return DataLoader(foreign.make_particles(count, seed=1), batch_size=batch_size)


def as_batch(batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """Particles that are numbered anew in each batch, and their bends."""
    found = foreign.as_batch(batch[:2])  # type: ignore[arg-type]
    return found | {"factors": batch[2][:, None]} if len(batch) > 2 else found


USER: dict[str, Any] = {"infer": foreign.infer, "as_batch": as_batch}


def trainer(folder: Path, *callbacks: Callback, **options: Any) -> L.Trainer:
    """A quiet Trainer."""
    settings: dict[str, Any] = {"devices": 1, "max_epochs": 1, "logger": False}
    settings |= {"enable_checkpointing": False, "num_sanity_val_steps": 0}
    return L.Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings | options,
    )


def fit(
    folder: Path,
    *callbacks: Callback,
    module: L.LightningModule | None = None,
    ckpt_path: str | None = None,
    **options: Any,
) -> L.Trainer:
    """Trains the small model on simulated particles."""
    run = trainer(folder, *callbacks, **options)
    run.fit(module or model(), datamodule=data(), ckpt_path=ckpt_path)
    return run


def read_table(folder: Path, name: str, prefix: str = "metrics") -> list[dict[str, Any]]:
    """Rows of a table."""
    rows: list[dict[str, Any]] = json.loads((folder / prefix / f"{name}.json").read_text())
    return rows


def scores(row: dict[str, Any]) -> dict[str, float]:
    """The scores of a row."""
    return {name: value for name, value in row.items() if name not in ("epoch", "step")}
