"""Which model is best over many metrics and seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from scipy.stats import rankdata

__all__ = ["ModelRank", "rank_models"]

_KEYS = ("model", "seed")


class ModelRank(NamedTuple):
    """Where a model stands.

    Attributes:
        model: Its name.
        mean_rank: Mean rank over metrics and seeds, 1 the best.
        spread: Standard deviation over seeds of the mean rank over metrics; 0 for one seed.
        metrics: Mean rank over seeds, for each metric.
    """

    model: str
    mean_rank: float
    spread: float
    metrics: dict[str, float]


def rank_models(
    table: Sequence[Mapping[str, Any]], *, lower_is_better: Collection[str] = ()
) -> list[ModelRank]:
    """Ranks models by their average rank over metrics and seeds.

    For every metric and every seed the models are ranked from 1 (best) on, ties sharing the mean of
    their ranks; the ranks are averaged, all metrics and seeds weighing the same. Ranks make
    metrics of different scale comparable: Locatello et al. 2019 and Klindt et al. 2020 report the
    scores side by side, Klindt et al. 2024 order the models by rank.

    Args:
        table: One row a run: "model", "seed" and the value of each metric under its name.
        lower_is_better: Names of metrics for which small values are good.

    Returns:
        Models from best to worst; equal mean ranks by name.

    Raises:
        ValueError: If a row lacks a key or has a metric that others lack, a run is there twice, a
            model lacks a seed that another has, or a value is not finite.
    """
    metrics = _metrics(table, lower_is_better)
    runs = _runs(table)
    models = sorted({model for model, _ in runs})
    seeds = list(dict.fromkeys(seed for _, seed in runs))
    for model, seed in product(models, seeds):
        if (model, seed) not in runs:
            raise ValueError(f"table must have every seed for every model: {model} lacks {seed}")
    ranks: dict[tuple[str, str], list[float]] = {}
    for metric, seed in product(metrics, seeds):
        sign = 1.0 if metric in lower_is_better else -1.0
        values = [sign * _value(runs[model, seed], metric) for model in models]
        for model, rank in zip(models, rankdata(values), strict=True):
            ranks.setdefault((model, metric), []).append(float(rank))
    found = [
        _summary(model, {metric: ranks[model, metric] for metric in metrics}) for model in models
    ]
    return sorted(found, key=lambda row: (row.mean_rank, row.model))


def _metrics(table: Sequence[Mapping[str, Any]], lower_is_better: Collection[str]) -> list[str]:
    """Names of the metrics, which all rows share."""
    if not table:
        raise ValueError("table must have at least one row, got none")
    for number, row in enumerate(table):
        for key in (*_KEYS, *table[0]):
            if key not in row:
                raise ValueError(f"row {number} of the table lacks {key!r}")
        for key in row:
            if key not in table[0]:
                raise ValueError(f"row 0 of the table lacks {key!r}, which row {number} has")
    metrics = [key for key in table[0] if key not in _KEYS]
    if not metrics:
        raise ValueError("table must have at least one metric beside 'model' and 'seed', got none")
    for name in lower_is_better:
        if name not in metrics:
            raise ValueError(f"lower_is_better names {name!r}, which the table lacks: {metrics}")
    return metrics


def _runs(table: Sequence[Mapping[str, Any]]) -> dict[tuple[str, Any], Mapping[str, Any]]:
    """Rows by model and seed."""
    runs: dict[tuple[str, Any], Mapping[str, Any]] = {}
    for number, row in enumerate(table):
        key = (str(row["model"]), row["seed"])
        if key in runs:
            raise ValueError(f"row {number} of the table repeats model {key[0]}, seed {key[1]}")
        runs[key] = row
    return runs


def _value(row: Mapping[str, Any], metric: str) -> float:
    """A finite score."""
    value = row[metric]
    score = math.nan if value is None else float(value)
    if not math.isfinite(score):
        raise ValueError(
            f"{metric} of model {row['model']}, seed {row['seed']} must be finite, got {value}"
        )
    return score


def _summary(model: str, ranks: dict[str, list[float]]) -> ModelRank:
    """Averages the ranks of one model, given by metric and seed."""
    by_seed = [statistics.fmean(column) for column in zip(*ranks.values(), strict=True)]
    spread = statistics.stdev(by_seed) if len(by_seed) > 1 else 0.0
    by_metric = {metric: statistics.fmean(row) for metric, row in ranks.items()}
    return ModelRank(model, statistics.fmean(by_seed), spread, by_metric)
