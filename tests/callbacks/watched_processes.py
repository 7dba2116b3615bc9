"""What one of two processes whose training is watched does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor

from cryo_disentangle.callbacks.export import CryoDRGNExport
from cryo_disentangle.callbacks.latent_figures import LatentFigures
from cryo_disentangle.callbacks.traversals import TraversalVolumes
from cryo_disentangle.particles import ParticleData
from tests import tiny
from tests.callbacks import watched


def train(folder: Path, *callbacks: Callback) -> dict[str, Tensor]:
    """Weights after two epochs of two processes."""
    # 59 particles: shares are uneven.
    data = ParticleData(**tiny.write_stack(folder / os.environ["RANK"], count=59))
    model = watched.make_model()
    options: dict[str, Any] = {
        "devices": 2,
        "strategy": DDPStrategy(process_group_backend="gloo"),
        "use_distributed_sampler": False,
    }
    trainer: L.Trainer = watched.make_trainer(folder, *callbacks, **options)
    trainer.fit(model, datamodule=data)
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def main(folder: Path) -> None:
    """Leaves the files of a watched training, and whether watching has changed it."""
    watchers = LatentFigures(2), TraversalVolumes(steps=3), CryoDRGNExport(2)
    watched_weights = train(folder, *watchers)
    weights = train(folder / "unwatched")
    same = all(torch.equal(watched_weights[name], value) for name, value in weights.items())
    torch.save({"same": same, "weights": watched_weights}, folder / f"{os.environ['RANK']}.pt")
