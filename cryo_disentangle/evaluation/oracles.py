"""True factors of a run's particles, and the best that any method can reach on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.evaluation.measuring import Sample
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.held_out.oracle import posterior_of_stack, posterior_of_statistics
from cryo_disentangle.held_out.particles import make_true_generator
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH, keep_oracle, oracle_scores_of
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.labels import read_labels
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.statistics import StatisticsData

__all__ = ["measure_oracles", "read_truth"]

# The true molecule is rendered again for each.
_PARTICLES = 4000


def measure_oracles(
    found: Measurement, run: FinishedRun, truth: Path, rows: InferredParticles, sample: Sample
) -> None:
    """Scores posterior means under the true molecule and, of statistics, within their subspace.

    Args:
        found: Gets the groups ``oracle`` and ``subspace_oracle`` and the shares of them.
        run: The run.
        truth: ``truth.npz``, beside the simulation's other files.
        rows: What is inferred of the particles, with their true factors.
        sample: Those that are scored.
    """
    places = torch.from_numpy(sample.places if sample.rows is None else sample.rows)
    places = places[torch.from_numpy(evenly(len(places), _PARTICLES))]
    some = rows.take(places)
    factors, index = some.factors, some.index
    if factors is None or index is None:
        return
    if SimulatedFolder.lies_in(truth.parent):
        with found.attempt(TRUTH):
            means = posterior_of_stack(SimulatedFolder(truth.parent), index.numpy())
            keep_oracle(found, TRUTH, oracle_scores_of(means, factors))
    else:
        found.missing[TRUTH] = f"{truth.parent} has not all files of the simulation"
    if isinstance(run.data, StatisticsData) and rows.factors is not None:
        statistics = run.data.folder.statistics
        with found.attempt(SUBSPACE):
            means = posterior_of_statistics(statistics, rows.factors, places)
            keep_oracle(found, SUBSPACE, oracle_scores_of(means, factors))


def read_truth(
    truth: Path, run: FinishedRun
) -> tuple[npt.NDArray[np.float32], TrueGenerator | None]:
    """Reads true factors, and the generator where the simulation lies beside them.

    Args:
        truth: ``truth.npz`` of a simulated stack.
        run: The run.

    Returns:
        Factors of the run's particles, shape (N, F), and the generator or None.

    Raises:
        ValueError: If there are no factors, or they are of other particles.
    """
    factors = read_labels(truth).factors
    if factors is None:
        raise ValueError(f"{truth}: true factors expected, found none")
    dataset = getattr(run.data.predict_dataloader(), "dataset", ())
    stack = getattr(dataset, "stack", None)
    if isinstance(stack, ParticleStack):
        factors = factors[stack.selection.of(len(factors), truth)]
    elif (
        isinstance(run.data, StatisticsData) and len(factors) == run.data.folder.origin.n_particles
    ):
        factors = factors[run.data.folder.statistics.index.numpy()]
    if len(factors) != len(dataset):
        raise ValueError(
            f"{truth}: a row for each of the run's {len(dataset)} particles expected, found "
            f"{len(factors)}"
        )
    beside = all((truth.parent / name).is_file() for name in ("molecule.yaml", "particles.mrcs"))
    if not beside or not isinstance(run.data, PreparedData):
        return factors, None
    source = SimulatedFolder(truth.parent)
    if source.box_size != getattr(run.data, "box_size", source.box_size):
        return factors, None
    return factors, make_true_generator(source, run.data.preprocessing)
