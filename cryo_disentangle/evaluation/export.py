"""Finished runs, handed to other programs."""

from __future__ import annotations

from pathlib import Path

import lightning as L
import torch
from rich.console import Console

from cryo_disentangle.evaluation.history import epoch_means
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles, infer_all, show_progress
from cryo_disentangle.interop.writing import CryoDRGNWriter
from cryo_disentangle.metrics.particle_rows import evaluating

__all__ = ["export_cryodrgn"]

_LOSSES = ("train/reconstruction", "train/kl", "train/loss")


def export_cryodrgn(
    run: FinishedRun,
    folder: Path,
    *,
    inferring: FinishedRun | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    console: Console | None = None,
) -> None:
    """Writes a run as ``cryodrgn train_vae`` leaves it.

    ``cryodrgn analyze FOLDER EPOCH``, ``eval_vol``, ``eval_images``, ``pc_traversal`` and others
    go on from there.

    Args:
        run: The run; `open_run`.
        folder: Where to; it is made.
        inferring: The same run with another inference of z, `infer_by_rendering`; None is the run.
            Weights are the run's either way.
        batch_size: Particles a batch, to infer their conformations.
        device: Where the model works.
        console: Where progress is shown; None shows none.

    Raises:
        FileExistsError: If there is anything in the folder.
        TypeError: If cryoDRGN has no such model, or doesn't prepare images so.
        ValueError: If the run has no encoder.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise FileExistsError(
            f"{folder} is not empty, and what it holds is not overwritten: choose another folder "
            "(--out)"
        )
    if run.stored is not None or run.epoch is None:
        raise ValueError(
            f"{run.folder}: {run.kind} has no encoder, and train_vae's folder needs one"
        )
    target = torch.device(device)
    writer = CryoDRGNWriter(folder)
    writer.write_config(run.module, run.data)
    source = run if inferring is None else inferring
    source.module.to(target)
    with show_progress(console) as progress, evaluating(source.module):
        particles = Particles(source, batch_size, target)
        rows = infer_all(source, particles, progress)
    log_variance = None if rows.log_variance is None else rows.log_variance.numpy()
    writer.write_latents(rows.mean.numpy(), log_variance, run.epoch)
    writer.write_weights(run.module, _optimizers(run), run.epoch)
    writer.make_log()
    for epoch, losses in _learning_curve(run.folder, run.epoch):
        writer.log_epoch(epoch, *losses)


def _optimizers(run: FinishedRun) -> list[torch.optim.Optimizer]:
    """The optimiser with its state at the end."""
    if not isinstance(run.module, L.LightningModule):
        return []
    made = run.module.configure_optimizers()
    optimizer = made["optimizer"] if isinstance(made, dict) else made
    if not isinstance(optimizer, torch.optim.Optimizer):
        return []
    for state in run.optimizer_states[:1]:
        optimizer.load_state_dict(state)
    return [optimizer]


def _learning_curve(folder: Path, epochs: int) -> list[tuple[int, tuple[float, ...]]]:
    """Mean losses of the epochs done, from the newest ``metrics.csv``; none where there is none."""
    tables = sorted(folder.glob("metrics/version_*/metrics.csv"), key=lambda p: p.stat().st_mtime)
    if not tables:
        return []
    first, *others = (epoch_means(tables[-1], name) for name in _LOSSES)
    return [
        (epoch, (first[epoch], *(other[epoch] for other in others)))
        for epoch in sorted(first)
        if epoch <= epochs and all(epoch in other for other in others)
    ]
