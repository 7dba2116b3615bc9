"""The best that any method can reach on the particles of a run whose truth is known."""

from __future__ import annotations

from pathlib import Path

import torch

from cryo_disentangle.evaluation.measuring import Sample
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.held_out.oracle import posterior_of_stack, posterior_of_statistics
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.oracles import SUBSPACE, TRUTH, keep_oracle, oracle_scores_of
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.statistics import StatisticsData

__all__ = ["measure_oracles"]

# The true molecule is rendered five times for each.
_PARTICLES = 1000


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
