"""Checkpoints that are whole or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO

from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.files.paths import replacing

__all__ = ["AtomicCheckpointIO"]


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a full disk or a kill leaves the one before as it was.

    A checkpoint is written beside its place, forced to the disk and renamed. Lightning's own way
    writes to the system's temporary folder first; where that is another file system, as on most
    clusters, it then copies over the checkpoint before, which a full disk leaves cut off. Nor is
    the whole file held in memory here, of which Lightning keeps two copies.

    Give it to the Trainer: ``plugins=[AtomicCheckpointIO()]``. Paths of remote stores
    (``s3://...``) are left to Lightning.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401 - Lightning's signature
    ) -> None:
        """Writes a checkpoint.

        Args:
            checkpoint: What to write.
            path: Where to.
            storage_options: Must be None.

        Raises:
            OSError: If it can't be written; what was there before is as it was.
            TypeError: If there are storage options.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # What a killed process was writing is of no use to anybody, and large.
        for partial in path.parent.glob(".*.ckpt.*.partial"):
            partial.unlink(missing_ok=True)
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:
            raise OSError(
                f"cannot write the checkpoint {path} ({_reason(error)}); earlier checkpoints are "
                "whole: make room and resume with --ckpt_path last"
            ) from error

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:  # noqa: ANN401
        """Reads a checkpoint, without running any code of it.

        Args:
            path: Where it is.
            args: Lightning's options for remote stores.
            kwargs: The same.

        Returns:
            What was written.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is damaged, of another kind, or would run code.
        """
        if "://" in str(path):
            return super().load_checkpoint(path, *args, **kwargs)
        return read_tensors(path, "a checkpoint")


def _reason(error: BaseException) -> str:
    """What the operating system said; torch hides it behind an error of its own."""
    cause = error if isinstance(error, OSError) else error.__context__
    return str(cause if isinstance(cause, OSError) else error).splitlines()[0]
