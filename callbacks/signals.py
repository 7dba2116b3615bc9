"""Runs that are told to stop end with a checkpoint from which they go on exactly."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import warnings
from types import FrameType
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from cryo_disentangle.callbacks.complete_checkpoints import model_checkpoint, write_last

__all__ = ["SignalCheckpoint"]


class SignalCheckpoint(Callback):
    """Writes ``last.ckpt`` and ends the run when a signal asks it to stop.

    Told by SIGTERM, as by ``kill``, torchrun and schedulers, and under SLURM by the requeue signal
    of Lightning's `SLURMEnvironment` (SIGUSR1; ``#SBATCH --signal=SIGUSR1@120`` sends it two
    minutes before the time is up), upon which the first process also puts the job back into the
    queue (``scontrol requeue``), unless the plugin says ``auto_requeue=False``. The run ends with
    exit status 128 + signal, and ``--ckpt_path last`` goes on with it bit for bit.

    Lightning acts within the signal's handler: in the middle of a step, when weights may be half
    updated and other processes wait for a sum of gradients. Here the handler takes a note only.
    Between steps of the optimiser all processes agree, so that a signal to one of them ends all.
    A signal during validation is answered after the first steps that follow.

    Args:
        every_n_steps: Steps of the optimiser from one agreement of several processes to the next;
            a single process looks after each.

    Raises:
        ValueError: If ``every_n_steps`` is not positive; at the start of training if no
            `ModelCheckpoint` says where checkpoints go.
    """

    def __init__(self, every_n_steps: int = 10) -> None:
        if every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, found {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._received = 0
        self._step = 0
        self._requeue: SLURMEnvironment | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:  # noqa: ARG002
        """Takes the place of Lightning's handlers, which Lightning restores after the run."""
        _model_checkpoint(trainer)
        self._received, self._step = 0, trainer.global_step
        environment = trainer._accelerator_connector.cluster_environment
        self._requeue = None
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue:
            self._requeue = environment
        if threading.current_thread() is not threading.main_thread():
            return
        signal.signal(signal.SIGTERM, self._note)
        if self._requeue is not None and self._requeue.requeue_signal is not None:
            signal.signal(self._requeue.requeue_signal, self._note)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ANN401, ARG002
        batch: Any,  # noqa: ANN401, ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Ends the run if a process was told to."""
        # Gradients that are being accumulated would be lost.
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if trainer.world_size > 1:
            if self._step % self.every_n_steps and not trainer.is_last_batch:
                return
            self._received = _largest(trainer, self._received)
        if self._received:
            self._end(trainer)

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Handles a signal."""
        self._received = number

    def _end(self, trainer: L.Trainer) -> None:
        """Writes the checkpoint and leaves."""
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            callback = _model_checkpoint(trainer)
            write_last(trainer, callback)
            if trainer.is_global_zero:
                print(
                    f"Stopped by {signal.Signals(self._received).name} after step "
                    f"{trainer.global_step}, saved in {callback.last_model_path}. To resume, run "
                    "the same command with --ckpt_path last.",
                    flush=True,
                )
        if self._requeue is not None and self._received == self._requeue.requeue_signal:
            if trainer.is_global_zero:
                _requeue()
            # Nobody goes away before the job is in the queue again.
            trainer.strategy.barrier("requeue")
        raise SystemExit(128 + self._received)


def _model_checkpoint(trainer: L.Trainer) -> ModelCheckpoint:
    """The callback that says where checkpoints go."""
    callback = model_checkpoint(trainer)
    if callback is not None:
        return callback
    raise ValueError(
        "SignalCheckpoint writes to the folder of a ModelCheckpoint, and the Trainer has none: "
        "enable_checkpointing must not be false"
    )


def _largest(trainer: L.Trainer, number: int) -> int:
    """The largest of the processes' numbers."""
    value = torch.tensor(number, device=trainer.strategy.root_device)
    torch.distributed.all_reduce(value, torch.distributed.ReduceOp.MAX)
    return int(value)


def _requeue() -> None:
    """Puts the SLURM job, or the task of an array, back into the queue."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        warnings.warn(
            f"job {job} could not be put back into the queue ({error}): submit it again, it "
            "resumes from its checkpoint",
            stacklevel=2,
        )
