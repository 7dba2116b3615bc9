"""Which kind of run a folder holds."""

from __future__ import annotations

from pathlib import Path

from cryo_disentangle.evaluation.cryodrgn_runs import is_cryodrgn_run, open_cryodrgn_run
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.evaluation.training_runs import is_training_run, open_training_run

__all__ = ["has_model", "open_run"]


def has_model(folder: Path) -> bool:
    """Returns whether a folder holds a run that is opened with its model.

    Args:
        folder: Any folder or file.

    Returns:
        True of runs of ours and of cryoDRGN.
    """
    return folder.is_dir() and (is_cryodrgn_run(folder) or is_training_run(folder))


def open_run(folder: Path, epoch: int | None = None, files: DataFiles | None = None) -> FinishedRun:
    """Opens a finished run: ours, or one of cryoDRGN.

    Args:
        folder: What ``cryo-disentangle fit`` or ``cryodrgn train_vae`` left.
        epoch: Number of epochs done; None takes the newest weights.
        files: Where particles lie now.

    Returns:
        The run.

    Raises:
        FileNotFoundError: If there is no such folder, epoch or file.
        ValueError: If the folder holds neither kind of run, or a damaged one.
        TypeError: If the run is of a kind that can't be read.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    if is_cryodrgn_run(folder):
        return open_cryodrgn_run(folder, epoch, files)
    if is_training_run(folder):
        return open_training_run(folder, epoch, files)
    raise ValueError(
        f"{folder}: neither a run of `cryo-disentangle fit` (config.yaml and checkpoints) nor one "
        "of cryoDRGN (config.yaml and weights.pkl)"
    )
