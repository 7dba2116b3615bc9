"""Latents of any finished run, ours included, whose model then infers them."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles
from cryo_disentangle.evaluation.training_runs import is_training_run, open_training_run
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.labels import ParticleLabels

__all__ = ["open_latents"]

_LABELS = ("time", "trajectory", "temperature")
_BATCH = 256


def open_latents(run: Path, key: str | None = None) -> tuple[Embedding, ParticleLabels]:
    """Reads the latents of a finished run, or asks the model of one of ours for them.

    Args:
        run: Folder of the run, or file of latents.
        key: Which of several latents.

    Returns:
        The embedding, and the labels that come with particles of our runs; empty of other runs.

    Raises:
        FileNotFoundError: If there is nothing there, or no program's marks.
        ValueError: If a file is damaged.
        TypeError: If the run's model cannot be looked at.
    """
    if key is None and run.is_dir() and is_training_run(run):
        return _inferred(open_training_run(run))
    return open_embedding(run, key), ParticleLabels()


@torch.no_grad()
def _inferred(run: FinishedRun) -> tuple[Embedding, ParticleLabels]:
    """Posteriors of all particles with full covariances."""
    particles, infer = Particles(run, _BATCH, torch.device("cpu")), run.model().infer
    parts: dict[str, list[Tensor]] = {}
    with evaluating(run.module):
        for batch in particles.batches():
            found, known = infer(batch), cast("dict[str, Tensor]", batch)
            part = {"mean": found.mean, "covariance": found.covariance}
            part |= {name: known[name] for name in ("index", "half", *_LABELS) if name in known}
            for name, value in part.items():
                parts.setdefault(name, []).append(value)
    table = {name: torch.cat(values).numpy() for name, values in parts.items()}
    rows = table["index"]
    if isinstance(run.data, ParticleData):
        # Batches count within the selection.
        rows = run.data.stack.rows[rows]
    embedding = Embedding(
        "cryo-disentangle",
        run.folder,
        table["mean"],
        covariance=table["covariance"],
        rows=rows,
        extra={"half": table["half"]} if "half" in table else {},
    )
    labels = ParticleLabels(**{name: table[name] for name in _LABELS if name in table})
    return embedding, labels
