"""How near a finished training comes to the best that images allow, where the truth is known."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lightning as L
import torch
from torch import Tensor

from cryo_disentangle.held_out.oracle import posterior_of_stack, posterior_of_statistics
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.metrics.functional.oracle import oracle_scores
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.labels import read_labels
from cryo_disentangle.statistics import StatisticsData

__all__ = ["best_possible"]

_PARTICLES = 512


def best_possible(
    trainer: L.Trainer, particles: InferredParticles, truth: str | Path | None
) -> dict[str, float]:
    """Scores particles beside posterior means under the true molecule, and within a subspace.

    Args:
        trainer: A Trainer that fits.
        particles: Particles with true factors; with others there is nothing to tell.
        truth: ``truth.npz`` of the simulated stack; None takes the labels of the data.

    Returns:
        Numbers by what they are, in words; none where the simulation is not at hand, or nothing
        bounds what can be inferred.
    """
    data: L.LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
    path = truth if truth is not None else getattr(data, "labels", None)
    if particles.factors is None or particles.index is None or not isinstance(path, str | Path):
        return {}
    some = particles.take(torch.arange(min(len(particles), _PARTICLES)))
    factors, index = some.factors, some.index
    if factors is None or index is None:
        return {}
    stack = getattr(data, "stack", None)
    rows = stack.rows[index.numpy()] if isinstance(stack, ParticleStack) else index.numpy()
    found: dict[str, float] = {}
    try:
        if SimulatedFolder.lies_in(Path(path).parent):
            means = posterior_of_stack(SimulatedFolder(Path(path).parent), rows)
            found |= _named(oracle_scores(some.mean, means, factors), "under the true molecule")
        known = _factors_of_statistics(data, Path(path))
        if isinstance(data, StatisticsData) and known is not None:
            statistics = data.folder.statistics
            order = statistics.index.argsort()
            places = order[torch.searchsorted(statistics.index[order], index)]
            means = posterior_of_statistics(statistics, known, places)
            found |= _named(oracle_scores(some.mean, means, factors), "in these volumes")
    except ValueError:
        # A bound is a help to read numbers by, and its lack ends no report.
        return found
    return found


def _factors_of_statistics(data: L.LightningDataModule | None, truth: Path) -> Tensor | None:
    """True factors of the particles that have statistics, in their order."""
    factors = read_labels(truth).factors
    if factors is None or not isinstance(data, StatisticsData):
        return None
    index = data.folder.statistics.index
    known = torch.from_numpy(factors)
    if len(known) == data.folder.origin.n_particles:
        return known[index]
    return known if len(known) == len(index) else None


def _named(scores: Mapping[str, Tensor], whose: str) -> dict[str, float]:
    """Scores in words."""
    found = {"MCC of z with true factors": float(scores["mcc"])}
    for name, words in (("mcc", "MCC"), ("r2", "R²")):
        found[f"{words}, best {whose}"] = float(scores[f"{name}_oracle"])
        found[f"{words}, share of the best {whose}"] = float(scores[f"{name}_share"])
    return found
