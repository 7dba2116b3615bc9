"""A cryoDRGN run folder that grows while a model is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.epoch_callback import EpochCallback
from cryo_disentangle.callbacks.run_particles import all_batches
from cryo_disentangle.interop.writing import CryoDRGNWriter
from cryo_disentangle.judgement.inferred import infer_particles

__all__ = ["CryoDRGNExport"]


class CryoDRGNExport(EpochCallback):
    """Writes ``<run>/cryodrgn``, a folder as ``cryodrgn train_vae`` leaves it.

    ``z.N.pkl`` (means and log-variances of all particles, in the order of the stack) and
    ``weights.N.pkl`` after N epochs, with ``config.yaml`` and the poses, CTF and selection that it
    names, so that ``cryodrgn analyze <run>/cryodrgn N``, ``eval_vol`` and others go on from there.

    ``z.pkl`` and ``weights.pkl`` are the last of them, ``run.log`` has the training loss.

    Weights and configuration are for models of an `MLPEncoder` and an `ImplicitDecoder` that know
    their poses, trained on `ParticleData` prepared as cryoDRGN does. Of other models only latents
    are written, and a warning says why. The first process writes; a failure is reported once in a
    warning and never ends the training.

    Args:
        every_n_epochs: Epochs from one export to the next; the last epoch has one.
        infer: As for `PenaltyCallback`.
        as_batch: As for `PenaltyCallback`.

    Raises:
        ValueError: If ``every_n_epochs`` is not positive.
        TypeError: If a function can't be imported, or the module has no ``infer``.
    """

    def __init__(
        self,
        every_n_epochs: int = 1,
        infer: str | Callable[..., Any] | None = None,
        as_batch: str | Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(every_n_epochs, ModelAdapter(infer, as_batch=as_batch))
        self._described = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Checks the module; each fit writes a configuration of its own."""
        super().setup(trainer, pl_module, stage)
        self._described = False

    def _look(
        self, trainer: L.Trainer, pl_module: L.LightningModule, model: AdaptedModel, epoch: int
    ) -> None:
        """Infers all particles, each process its share, and writes from the first process."""
        mine: tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]] | None = None
        with self.failing_softly("latents"):
            found = infer_particles(model.infer, all_batches(trainer, self._adapter))
            if found.index is not None and found.log_variance is not None:
                latents = torch.stack([found.mean, found.log_variance])
                mine = found.index.numpy(), latents.numpy()
        # Every process gets here, whatever happened to its share.
        shares = _gather(mine)
        if not trainer.is_global_zero:
            return
        writer = CryoDRGNWriter(Path(trainer.default_root_dir, "cryodrgn"))
        with self.failing_softly("cryoDRGN folder"):
            writer.write_latents(*_in_order(shares), epoch)
        with self.failing_softly("cryoDRGN weights and configuration"):
            if not self._described:
                writer.write_config(pl_module, trainer.datamodule)  # type: ignore[attr-defined]
                self._described = True
            writer.write_weights(pl_module, trainer.optimizers, epoch)
            _log_epoch(writer, trainer, epoch)


def _in_order(
    shares: list[Any],
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Means and log-variances of all processes in the order of the stack."""
    if any(share is None for share in shares):
        raise ValueError("a process has inferred no latents")
    rows = np.concatenate([rows for rows, _ in shares])
    latents = np.concatenate([latents for _, latents in shares], axis=1)
    # A particle that two processes have seen counts once.
    order = np.unique(rows, return_index=True)[1]
    return latents[0][order], latents[1][order]


def _log_epoch(writer: CryoDRGNWriter, trainer: L.Trainer, epoch: int) -> None:
    """Logs the losses, where the model tells them."""
    logged = trainer.callback_metrics
    names = ("train/reconstruction", "train/kl", "train/loss")
    writer.make_log()
    if all(name in logged for name in names):
        reconstruction, kl, loss = (float(logged[name]) for name in names)
        writer.log_epoch(epoch, reconstruction, kl, loss)


def _gather(mine: object) -> list[Any]:
    """Every process's share, on every process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [mine]
    shares: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(shares, mine)
    return shares
