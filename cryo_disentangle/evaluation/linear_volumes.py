"""Runs whose maps are linear in z, judged by the likelihood of images under these maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from cryo_disentangle.embeddings.embedding import Embedding, LinearVolumes
from cryo_disentangle.encoders.statistics import coefficient_posterior
from cryo_disentangle.evaluation.by_statistics import statistics_model
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.files import read_volume
from cryo_disentangle.metrics.functional.correlation import mean_canonical_correlation
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.joining import is_table
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.particle_table import open_particle_table
from cryo_disentangle.statistics import StatisticsData, StatisticsFolder, make_statistics
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.stages import shown_stages
from cryo_disentangle.statistics.views import open_images

__all__ = ["run_of_volumes"]

# Components are ordered by how much of the particles they explain.
_MOST = 6


def run_of_volumes(
    path: Path,
    embedding: Embedding,
    files: DataFiles,
    folder: Path,
    *,
    device: torch.device | str = "cpu",
    console: Console | None = None,
) -> FinishedRun:
    """Asks images for coefficients of a run's own mean and components.

    z becomes the exact posterior of the coefficients of up to 6 components, under a standard normal
    prior; the maps' scale, the coefficients' spread and the noise are fitted to the images.

    Args:
        path: The run.
        embedding: Its latents and linear volumes.
        files: Where particles lie; their poses and CTF are those of the particle file or given.
        folder: Where statistics are kept.
        device: Where the model works.
        console: Where progress is shown; None shows none.

    Returns:
        A run of statistics in the volumes.

    Raises:
        ValueError: If the run has no linear volumes or names no particle file, or volumes and
            images do not fit.
        OSError: If a file is missing, or the folder can't be written to.
    """
    if embedding.volumes is None:
        raise ValueError(
            f"{embedding.source}: --inference statistics takes maps that are linear in z, of 3D "
            f"variability analysis or RECOVAR, and {embedding.tool} has left none here"
        )
    source = _particle_file(embedding, files)
    rows = embedding.rows
    if is_table(source):
        rows = rows_in_table(embedding, open_particle_table(source))
    if rows is None:
        raise ValueError(
            f"{embedding.source} does not say which images of {source} its latents are of; give a "
            "particle file that names them by --particles"
        )
    stack = ParticleStack.open(
        source, poses=files.poses, ctf=files.ctf, datadir=files.datadir, indices=rows
    )
    volumes = _read(embedding.volumes, stack.box_size)
    images = open_images(stack, invert=None, norm=None)
    total = len(ParticleStack.open(source, datadir=files.datadir))
    particles = ParticleRows(images, rows, total)
    with shown_stages(hidden=console is None) as told:
        made = make_statistics(particles, folder, SubspaceSettings(), told, volumes)
    if made is None:
        raise ValueError(f"{folder}: statistics are written by the first process")
    agreement = _agreement(embedding, rows, made)
    facts = {
        "latents": f"coefficients of {made.subspace().rank} of the run's own components, by each "
        "image's exact likelihood",
        "agreement with the run's z": f"{agreement:.2f} up to a linear map (1 is best)",
        "particle file": str(source),
    }
    # Nothing is held out of a run that was not trained here.
    data = StatisticsData(made.path, validation_fraction=0)
    module = statistics_model(made, device)
    kind = f"linear volumes of {embedding.tool}"
    return FinishedRun(path, kind, None, data, module, facts=facts, by_statistics=True)


def _particle_file(embedding: Embedding, files: DataFiles) -> Path:
    """Images of the run: those that are given, that it names, or that its poses are in."""
    if files.particles is not None:
        return files.particles
    named = [] if embedding.particles is None else [Path(embedding.particles)]
    places = [place for path in named for place in (path, embedding.source.parent / path)]
    if embedding.poses is not None and is_table(embedding.poses.source):
        places.append(embedding.poses.source)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise ValueError(
            f"{embedding.source}: --inference statistics reads images: give the particle file by "
            "--particles"
        )
    return found


def _read(volumes: LinearVolumes, box_size: int) -> torch.Tensor:
    """Mean and components, shape (K + 1, D, D, D)."""
    found = []
    for path in (volumes.mean, *volumes.components[:_MOST]):
        volume, _ = read_volume(path)
        if volume.shape != (box_size,) * 3:
            raise ValueError(
                f"{path}: a map of {' x '.join(map(str, volume.shape))} voxels, and the images "
                f"have {box_size} x {box_size} pixels: give images of the maps' box by --particles"
            )
        found.append(torch.from_numpy(np.array(volume, dtype=np.float32)))
    return torch.stack(found)


def _agreement(embedding: Embedding, rows: np.ndarray, folder: StatisticsFolder) -> float:
    """Mean canonical correlation of the run's z with the posterior means."""
    kept = folder.statistics
    means = coefficient_posterior(kept.information, kept.precision)[0]
    order = np.argsort(rows)
    places = order[np.searchsorted(rows, kept.index.numpy(), sorter=order)]
    return float(mean_canonical_correlation(embedding.latents[places], means))
