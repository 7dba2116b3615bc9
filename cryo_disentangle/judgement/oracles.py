"""Scores against true factors beside the best that any method can reach."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.metrics import disentanglement_metrics

__all__ = ["SUBSPACE", "TRUTH", "keep_oracle", "oracle_scores_of"]

TRUTH, SUBSPACE = "oracle", "subspace_oracle"
"""Groups of scores: of posterior means under the true molecule, and within a subspace."""


def oracle_scores_of(means: Tensor, factors: Tensor) -> dict[str, float]:
    """Scores inference of particles from the truth.

    Args:
        means: Posterior means of the factors, shape (N, F).
        factors: True factors, shape (N, F).

    Returns:
        Scores by name, those that are finite.
    """
    scores = {name: float(value) for name, value in disentanglement_metrics(means, factors).items()}
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def keep_oracle(found: Measurement, group: str, scores: Mapping[str, float]) -> None:
    """Keeps the scores of an oracle, and what share of them the latents reach.

    Args:
        found: Gets the groups ``group`` and ``group_share``.
        group: `TRUTH` or `SUBSPACE`.
        scores: By name, as `oracle_scores_of` gives them.
    """
    reached = found.scores.get("disentanglement", {})
    found.scores[group] = {name: Score(value) for name, value in scores.items()}
    found.scores[f"{group}_share"] = {
        name: Score(reached[name].value / value)
        for name, value in scores.items()
        if name in reached and value > 0
    }
