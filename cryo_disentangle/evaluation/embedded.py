"""Judges latents of any program, without images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.evaluation import Evaluation
from cryo_disentangle.evaluation.figures import Picture, draw_each, embedding_drawings
from cryo_disentangle.evaluation.joined import JoinedLatents, join_latents
from cryo_disentangle.evaluation.landscapes import find_landscapes
from cryo_disentangle.evaluation.runs import DataFiles, EmbeddedRun
from cryo_disentangle.evaluation.scattering import scatter_particles
from cryo_disentangle.evaluation.states import find_states
from cryo_disentangle.evaluation.streaming import show_progress
from cryo_disentangle.judgement.particle_groups import measure_groups, measure_shape
from cryo_disentangle.judgement.particle_scores import (
    describe_components,
    describe_coordinates,
    evenly,
    measure_leaks,
)
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.judgement.verdict import judge
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.selection.lasso import lasso_of

__all__ = ["evaluate_embedding"]

# As many as the leaks need.
_FEWEST = 12
_NEEDS_NETWORK = (
    "needs the images and the network that inferred z, which are not read from runs of other "
    "programs"
)
_NEEDS_IMAGES = (
    "needs the images: the run's maps are linear in z, so `--inference statistics` infers "
    "coefficients from the "
    "images and tests these"
)
_IMAGED = ("rotation test", "pose interventions", "redrawn noise", "decoding")


def evaluate_embedding(
    path: Path,
    embedding: Embedding,
    files: DataFiles | None = None,
    *,
    sample: int = 4000,
    resamples: int = 40,
    states: int = 6,
    kelvin: float | None = None,
    console: Console | None = None,
) -> Evaluation:
    """Judges latents of any program by what is known of their particles.

    Args:
        path: The run, or the file of its latents.
        embedding: The latents; `open_embedding`.
        files: Where particles, poses and CTF lie.
        sample: How many particles, evenly spread, probes are fitted to.
        resamples: Halves of the sample that intervals are made of; 0 for no intervals.
        states: Number of k-means clusters of the latents, with views and defocus; 0 for none.
        kelvin: Temperature of all particles, for free energies, or None.
        console: Where progress is shown; None shows none.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If there are fewer than 12 latents, a number is out of range, or latents cannot
            be joined with their particles.
    """
    if sample < _FEWEST or resamples == 1 or resamples < 0:
        raise ValueError(
            f"sample must be at least {_FEWEST} and resamples 0 or at least 2, found {sample} and "
            f"{resamples}"
        )
    if len(embedding) < _FEWEST:
        raise ValueError(f"{embedding.source}: {len(embedding)} latents, fewer than {_FEWEST}")
    joined = join_latents(embedding, files)
    measured, rows = Measurement(resamples), joined.particles
    some = rows.take(evenly(len(rows), sample))
    parts: list[Callable[[], None]] = [
        lambda: measure_leaks(measured, some),
        lambda: measure_groups(measured, rows, joined.groups),
        lambda: describe_coordinates(measured, rows),
        lambda: describe_components(measured, rows),
        lambda: measure_shape(measured, rows),
    ]
    with show_progress(console) as progress:
        task = progress.add_task("Scoring", total=len(parts))
        for score in parts:
            score()
            progress.advance(task)
        found = find_states(rows, states)
        landscapes = find_landscapes(rows, measured, errors=embedding.errors, kelvin=kelvin)
        drawings = embedding_drawings(rows, measured, found)
        pictures = [
            Picture(name, figure) for name, figure in draw_each(drawings, measured, progress)
        ]
    # What a file lacks, in the words of the file, in place of a metric's.
    needs = _NEEDS_NETWORK if embedding.volumes is None else _NEEDS_IMAGES
    measured.missing |= joined.missing | dict.fromkeys(_IMAGED, needs)
    run, facts = EmbeddedRun(path, embedding.tool), _facts(joined, path)
    lasso = lasso_of(embedding, joined.table)
    groups = joined.groups if found is None else {**joined.groups, "state": found.labels}
    scatter = scatter_particles(rows, groups, lasso, lambda: _stack(joined))
    verdict = judge(measured.scores)
    # Neither volumes nor a file of latents of our own, and who trained on what is not known.
    shown = (None, None, scatter, None, found, landscapes)
    return Evaluation(run, facts, measured, verdict, pictures, *shown)


def _stack(joined: JoinedLatents) -> ParticleStack | None:
    """Images of the particle file, where the latents are joined with one."""
    return None if joined.table is None else ParticleStack.open(joined.table.path)


def _facts(joined: JoinedLatents, path: Path) -> dict[str, str]:
    """What the report begins with."""
    embedding = joined.embedding
    particles = f"{len(embedding):,}"
    if embedding.left_out:
        particles += f", {embedding.left_out:,} more of the run have no latents"
    if joined.table is not None:
        particles += f", of {len(joined.table):,} in the particle file"
    facts = {
        "run": str(path),
        "kind": f"latents of {embedding.tool}",
        "latents": f"{embedding.source.name}, {embedding.latents.shape[1]} coordinates",
        "particles": particles,
        **joined.sources,
    }
    return {**facts, "mind": embedding.mind} if embedding.mind else facts
