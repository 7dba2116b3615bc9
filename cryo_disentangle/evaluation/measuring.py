"""Which particles of a run are scored, and everything that is measured of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles
from cryo_disentangle.judgement.entanglement import measure_entanglement
from cryo_disentangle.judgement.image_scores import ImagedModel, measure_images
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import (
    describe_components,
    describe_coordinates,
    evenly,
    judge_labels,
    measure_disentanglement,
    measure_leaks,
    measure_truth,
)
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.metrics.permutations import TrueGenerator

__all__ = ["Sample", "choose_sample", "measure"]

# With fewer of them a probe has too few rows, and the particles of training are taken too.
_FEWEST_HELD_OUT = 100


class Sample(NamedTuple):
    """Particles that are scored.

    Attributes:
        places: Their places among all, shape (S,).
        kind: ``held-out`` or ``training``.
        rows: Their rows in the table of inferred particles, shape (S,); None where that is of all.
    """

    places: npt.NDArray[np.int64]
    kind: Literal["held-out", "training"]
    rows: npt.NDArray[np.int64] | None = None


def choose_sample(run: FinishedRun, total: int, count: int) -> Sample:
    """Chooses particles that training has not seen or, where these are too few, of all.

    Args:
        run: The run.
        total: Number of its particles.
        count: How many are wanted, at most.

    Returns:
        Particles evenly spread.
    """
    held_out = run.held_out
    if len(held_out) >= _FEWEST_HELD_OUT:
        return Sample(held_out[evenly(len(held_out), count)], "held-out")
    return Sample(evenly(total, count), "training")


def measure(
    run: FinishedRun,
    particles: Particles,
    rows: InferredParticles,
    sample: Sample,
    truth: TrueGenerator | None,
    resamples: int,
    progress: Progress,
) -> Measurement:
    """Measures everything that a run allows.

    Args:
        run: The run.
        particles: Its particles.
        rows: What is inferred of all of them.
        sample: Those that are imaged and that probes are fitted to.
        truth: The generator that simulated particles were made by, or None.
        resamples: Halves of the sample that intervals are made of; 0 for no intervals.
        progress: Receives the progress.

    Returns:
        The numbers, and why others could not be had.
    """
    found = Measurement(resamples)
    task = progress.add_task("Rotating images, permuting poses", total=len(sample.places))
    imaged = ImagedModel(run.model(), run.reads_images, truth)
    batches = particles.batches(sample.places)
    measure_images(found, imaged, batches, partial(progress.advance, task))
    some = rows.take(sample.places if sample.rows is None else sample.rows)
    parts: list[tuple[Callable[[Measurement, InferredParticles], None], InferredParticles]] = [
        (measure_leaks, some),
        (measure_entanglement, some),
        (describe_coordinates, rows),
        (describe_components, rows),
        (measure_truth, some),
        (measure_disentanglement, some),
        (judge_labels, rows),
    ]
    task = progress.add_task("Scoring", total=len(parts))
    for score, table in parts:
        score(found, table)
        progress.advance(task)
    return found
