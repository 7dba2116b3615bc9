"""Small trainings that callbacks watch, of our model and of a user's."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback

from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from tests import tiny
from tests.callbacks import foreign

QUIET = (
    "ignore:.*does not have many workers:UserWarning",
    "ignore:.*GPU available but not used:UserWarning",
    "ignore:.*LeafSpec.*:FutureWarning",
    "ignore:.*treespec.*:FutureWarning",
    "ignore:.*number of training batches.*:UserWarning",
)


def make_trainer(folder: Path, *callbacks: Callback, **options: Any) -> L.Trainer:
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "log_every_n_steps": 1,
    }
    return L.Trainer(default_root_dir=folder, callbacks=list(callbacks), **(quiet | options))


def make_model(
    encoder: Any = None, decoder: Any = None, **options: Any
) -> HeterogeneousReconstruction:
    torch.manual_seed(0)
    return HeterogeneousReconstruction(
        tiny.BOX_SIZE,
        2,
        encoder or partial(MLPEncoder, width=16, layers=1),
        decoder or partial(ImplicitDecoder, width=16, layers=1),
        pixel_size=tiny.PIXEL_SIZE,
        **options,
    )


def make_data(folder: Path, **options: Any) -> ParticleData:
    return ParticleData(**(tiny.write_stack(folder / "data") | options))


def fit(folder: Path, *callbacks: Callback, **options: Any) -> HeterogeneousReconstruction:
    """Trains our model on a tiny stack."""
    model = make_model()
    make_trainer(folder, *callbacks, **options).fit(model, datamodule=make_data(folder))
    return model


def fit_foreign(folder: Path, *callbacks: Callback, **options: Any) -> foreign.ConvolutionalVAE:
    """Trains a user's model in a loop without validation."""
    torch.manual_seed(0)
    model = foreign.ConvolutionalVAE()
    make_trainer(folder, *callbacks, **options).fit(model, foreign.loader())
    return model


def size_of_picture(path: Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    raw = path.read_bytes()
    assert raw.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(raw) > 2000
    width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
    return width, height
