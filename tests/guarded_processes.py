"""What one of two processes, each on a node of its own, does when something goes wrong in one."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.strategies import DDPStrategy
from torch.utils.data import DataLoader

from cryo_disentangle.callbacks import AtomicCheckpointIO, NonFiniteGuard, SignalCheckpoint
from tests.small_model import COUNT, make_batch, make_model

BATCHES, SPOILT, SIGNALLED = 12, 2, 4


class SignalToOne(Callback):
    """Tells the second process alone to stop."""

    def on_train_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        if trainer.global_rank == 1 and batch_idx == SIGNALLED:
            os.kill(os.getpid(), signal.SIGTERM)


def loader(rank: int, *, spoilt: bool) -> DataLoader[Any]:
    """This process's batches; one of the second process has a NaN."""
    batches = []
    for number in range(BATCHES):
        batch: Any = make_batch()
        batch["index"] = batch["index"] + (2 * number + rank) * COUNT
        if spoilt and rank == 1 and number == SPOILT:
            batch["images"][1, 3, 3] = math.nan
        batches.append(batch)
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def train(folder: Path, *callbacks: Callback, spoilt: bool = False) -> dict[str, Any]:
    """Trains for an epoch; tells how it ended, and with which weights."""
    model = make_model()
    trainer = L.Trainer(
        accelerator="cpu",
        num_nodes=2,
        devices=1,
        strategy=DDPStrategy(process_group_backend="gloo"),
        max_epochs=1,
        callbacks=[*callbacks, ModelCheckpoint(folder / "checkpoints", save_top_k=0)],
        plugins=[AtomicCheckpointIO()],
        limit_val_batches=0,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )
    end: dict[str, Any] = {"error": "", "status": 0}
    try:
        trainer.fit(model, loader(trainer.global_rank, spoilt=spoilt))
    except ValueError as error:
        end["error"] = str(error)
    except SystemExit as error:
        end["status"] = error.code
    weights = torch.cat([p.detach().flatten() for p in model.parameters()])
    return end | {
        "sum": float(weights.double().sum()),
        "finite": bool(weights.isfinite().all()),
        "step": trainer.global_step,
    }


def main(folder: Path) -> None:
    """Leaves this process's findings."""
    logging.disable()
    torch.set_num_threads(1)
    guard = NonFiniteGuard(skip=True, every_n_steps=4)
    found = {
        "stopped": train(folder / "stopped", NonFiniteGuard(every_n_steps=4), spoilt=True),
        "skipped": train(folder / "skipped", guard, spoilt=True) | guard.state_dict(),
        "signalled": train(folder / "signalled", SignalToOne(), SignalCheckpoint(every_n_steps=3)),
    }
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(found))
