"""Runs go on exactly from any checkpoint, and their last one is the end of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor

from cryo_disentangle.callbacks import (
    AccumulatedGradients,
    AtomicCheckpointIO,
    FinalCheckpoint,
)
from tests.callbacks import watched

pytestmark = [
    pytest.mark.filterwarnings(quiet)
    for quiet in (
        *watched.QUIET,
        "ignore:Checkpoint directory .* exists:UserWarning",
        "ignore:You.re resuming from a checkpoint that ended before:UserWarning",
    )
]

_BATCHES, _ACCUMULATED = 10, 4


class _Line(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(3, 1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:  # noqa: ARG002
        # The loader begins anew when a run goes on; what is drawn here does not.
        drawn = torch.Generator().manual_seed(100 * self.current_epoch + batch_idx)
        rows = torch.randn(2, 3, generator=drawn)
        loss: Tensor = (self.layer(rows) - rows.sum(1, keepdim=True) ** 2).square().mean()
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:  # noqa: ARG002
        self.log("val/loss", self.layer(batch).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class _Saving(Callback):
    """Writes a checkpoint after a batch, as a resumed run or a timer may."""

    def __init__(self, path: Path, batch: int) -> None:
        self.path, self.batch = path, batch

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.current_epoch == 1 and trainer.fit_loop.batch_idx == self.batch:
            trainer.save_checkpoint(self.path)


def train(folder: Path, *callbacks: Callback, resume: Path | None = None, **options: Any) -> _Line:
    model = _Line()
    rows = torch.randn(2 * _BATCHES, 3, generator=torch.Generator().manual_seed(1))
    loader: Any = torch.utils.data.DataLoader(rows, batch_size=2)  # type: ignore[arg-type]
    trainer = L.Trainer(
        **{"max_epochs": 3, "accumulate_grad_batches": _ACCUMULATED} | options,
        accelerator="cpu",
        callbacks=list(callbacks),
        default_root_dir=folder,
        plugins=[AtomicCheckpointIO()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, loader, loader, ckpt_path=resume)
    return model


@pytest.mark.parametrize("batch", [3, 4, 6, 9])
def test_a_checkpoint_within_an_accumulation_is_gone_on_with_bit_for_bit(
    batch: int, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.ckpt"
    whole = train(tmp_path, _Saving(saved, batch), AccumulatedGradients())
    kept = torch.load(saved, weights_only=True).get("accumulated_gradients")
    assert (kept is None) == (batch in (3, 9))  # after a step of the optimiser
    resumed = train(tmp_path, AccumulatedGradients(), resume=saved)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("options", "steps", "epoch"),
    [
        ({"every_n_train_steps": 4}, 30, 2),
        ({"every_n_epochs": 2}, 30, 2),
        ({"every_n_epochs": 1}, 30, 2),
        ({"every_n_train_steps": 100}, 30, 2),
        ({"monitor": "val/loss", "mode": "max"}, 30, 2),
    ],
)
def test_the_last_checkpoint_is_the_end_of_training(
    options: dict[str, Any], steps: int, epoch: int, tmp_path: Path
) -> None:
    writing = ModelCheckpoint(tmp_path / "checkpoints", save_last=True, **options)
    model = train(tmp_path, writing, FinalCheckpoint(), accumulate_grad_batches=1)
    last = torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)
    assert (last["global_step"], last["epoch"]) == (steps, epoch)
    for name, value in model.state_dict().items():
        assert torch.equal(last["state_dict"][name], value)
    assert [path.name for path in writing_folder(tmp_path) if "last" in path.name] == ["last.ckpt"]


def writing_folder(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").iterdir())


def test_a_run_out_of_steps_goes_on_within_its_epoch(tmp_path: Path) -> None:
    def writing(folder: str) -> list[Callback]:
        options: dict[str, Any] = {"every_n_train_steps": 4, "save_last": True}
        return [ModelCheckpoint(tmp_path / folder, **options), FinalCheckpoint()]

    train(tmp_path, *writing("short"), accumulate_grad_batches=1, max_steps=17)
    last = tmp_path / "short/last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == 17
    resumed = train(tmp_path, *writing("short"), resume=last, accumulate_grad_batches=1)
    whole = train(tmp_path, *writing("whole"), accumulate_grad_batches=1)
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_where_no_last_checkpoint_is_wanted_none_is_written(tmp_path: Path) -> None:
    writing = ModelCheckpoint(tmp_path / "checkpoints", every_n_train_steps=4)
    train(tmp_path, writing, FinalCheckpoint())
    assert all("last" not in path.name for path in writing_folder(tmp_path))
