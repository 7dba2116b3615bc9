"""Checkpoints from which a run goes on exactly, and the one that is the end of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

__all__ = ["AccumulatedGradients", "FinalCheckpoint", "model_checkpoint", "write_last"]


class FinalCheckpoint(Checkpoint):
    """Makes ``last.ckpt`` the end of training, however often checkpoints are written.

    Lightning writes it beside its other checkpoints alone: after ``every_n_train_steps`` steps, so
    that up to as many are lost at the end, or when the monitored metric improves. Where
    ``save_last`` of the `ModelCheckpoint` is false, nothing is written.
    """

    def __init__(self) -> None:
        self._written = -1

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Writes it where a run stops within an epoch, which it then goes on with."""
        if not trainer.is_last_batch and (trainer.should_stop or _out_of_steps(trainer)):
            self._write(trainer)

    # Lightning calls these hooks of a `Checkpoint` after those of all other callbacks.
    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Writes it after the last epoch."""
        epochs = trainer.max_epochs
        is_last = epochs not in (None, -1) and trainer.current_epoch + 1 >= int(epochs or 0)
        if is_last or trainer.should_stop or _out_of_steps(trainer):
            self._write(trainer)

    def _write(self, trainer: L.Trainer) -> None:
        """Writes it once a step."""
        callback = model_checkpoint(trainer)
        if callback is None or not callback.save_last or self._written == trainer.global_step:
            return
        self._written = trainer.global_step
        write_last(trainer, callback)


class AccumulatedGradients(Callback):
    """Keeps gradients that are being accumulated in checkpoints, and goes on with them.

    With ``accumulate_grad_batches`` a checkpoint may be written between two steps of the optimiser;
    Lightning then forgets what batches since the last step have added. Several processes keep the
    mean of theirs, which is all that enters the step.
    """

    _KEY = "accumulated_gradients"

    def __init__(self) -> None:
        self._loaded: list[Tensor | None] | None = None

    def on_save_checkpoint(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Adds the gradients, where a step is not finished."""
        if trainer.state.fn != TrainerFn.FITTING or not trainer.fit_loop._should_accumulate():
            return
        checkpoint[self._KEY] = [_mean(trainer, p.grad) for p in _parameters(trainer)]

    def on_load_checkpoint(
        self,
        trainer: L.Trainer,  # noqa: ARG002
        pl_module: L.LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Takes them up."""
        self._loaded = checkpoint.get(self._KEY)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Gives them to the parameters."""
        loaded, self._loaded = self._loaded, None
        for parameter, gradient in zip(_parameters(trainer), loaded or (), strict=False):
            parameter.grad = None if gradient is None else gradient.to(parameter.device)


def write_last(trainer: L.Trainer, callback: ModelCheckpoint) -> None:
    """Writes ``last.ckpt``.

    Args:
        trainer: All its processes come here.
        callback: Says where checkpoints go.
    """
    path = str(Path(str(callback.dirpath)) / f"{callback.CHECKPOINT_NAME_LAST}.ckpt")
    # Else a resumed run would take this file for another run's and write last-v1.ckpt.
    callback.last_model_path = path
    # Else Lightning, which counts its own alone, would write one more, of an epoch too many.
    callback._last_checkpoint_saved = path
    trainer.save_checkpoint(path)


def model_checkpoint(trainer: L.Trainer) -> ModelCheckpoint | None:
    """Finds the callback that says where checkpoints go.

    Args:
        trainer: Has it or not.

    Returns:
        The first one, or None.
    """
    found = (c for c in trainer.checkpoint_callbacks if isinstance(c, ModelCheckpoint))
    return next(found, None)


def _out_of_steps(trainer: L.Trainer) -> bool:
    """Whether all steps are done."""
    return trainer.max_steps != -1 and trainer.global_step >= trainer.max_steps


def _parameters(trainer: L.Trainer) -> list[torch.nn.Parameter]:
    """What the optimisers train, in order."""
    groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
    return [parameter for group in groups for parameter in group["params"]]


def _mean(trainer: L.Trainer, gradient: Tensor | None) -> Tensor | None:
    """The processes' mean of a gradient."""
    if gradient is None:
        return None
    mean = trainer.strategy.reduce(gradient.detach().clone(), reduce_op="mean")
    return mean if isinstance(mean, Tensor) else gradient.detach()
