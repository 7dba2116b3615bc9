"""Results of all cells as one table, medians with intervals, and ranks."""

from __future__ import annotations

import csv
import io
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cryo_disentangle.benchmark.cells import Cell
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.metrics import rank_models
from cryo_disentangle.metrics.ranking import ModelRank

__all__ = ["Entry", "Median", "collect", "median_interval", "rank_methods", "write_results"]

_RESAMPLES = 10_000
_HIGHER = "disentanglement/"
_LOWER = (
    "pose_leak/pose_leak_nonlinear_r2",
    "rotation/rotation_normalized",
    "true_interventions/conformation_pose_invariance_normalized",
)


class Entry(NamedTuple):
    """A number of a cell.

    Attributes:
        method: Name of the method.
        dataset: Name of the data set.
        seed: Seed of the cell.
        metric: ``group/name``.
        value: The score.
    """

    method: str
    dataset: str
    seed: int
    metric: str
    value: float


class Median(NamedTuple):
    """A median over seeds.

    Attributes:
        value: The median.
        low: Lower end of its interval; None for a single seed.
        high: Upper end.
        seeds: Number of seeds.
    """

    value: float
    low: float | None
    high: float | None
    seeds: int


def collect(cells: Sequence[Cell]) -> list[Entry]:
    """Gathers what finished cells have found.

    Args:
        cells: Cells, finished or not.

    Returns:
        Their numbers, in the order of the cells.
    """
    return [
        Entry(cell.method, cell.dataset, cell.seed, metric, float(value))
        for cell in cells
        if cell.result is not None
        for metric, value in cell.result["metrics"].items()
    ]


def write_results(path: Path, entries: Sequence[Entry]) -> None:
    """Writes the tidy table: a row for each method, data set, seed and metric.

    Args:
        path: CSV file.
        entries: The numbers.

    Raises:
        OSError: If the file can't be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Entry._fields)
    writer.writerows((*entry[:-1], f"{entry.value:.9g}") for entry in entries)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def median_interval(values: Sequence[float], level: float = 0.95) -> Median:
    """Finds the median over seeds and the interval of it by the percentile bootstrap.

    Args:
        values: A value for each seed.
        level: Probability that the interval is to hold. With few seeds it holds less often, and
            is never wider than their range.

    Returns:
        Median and interval, the same at each call.

    Raises:
        ValueError: If there is no value.

    References:
        Efron and Tibshirani 1993, An introduction to the bootstrap, chapter 13.
    """
    if not values:
        raise ValueError("a median needs at least one value, found none")
    middle = statistics.median(values)
    if len(values) == 1:
        return Median(middle, None, None, 1)
    rows = np.random.default_rng(0).integers(len(values), size=(_RESAMPLES, len(values)))
    medians = np.median(np.asarray(values, dtype=np.float64)[rows], axis=1)
    low, high = np.quantile(medians, [(1 - level) / 2, (1 + level) / 2])
    return Median(middle, float(low), float(high), len(values))


def rank_methods(
    entries: Sequence[Entry], cells: Sequence[Cell], datasets: Sequence[str]
) -> tuple[list[ModelRank], list[str]]:
    """Ranks the methods that are finished on all of some data sets, by `rank_models`.

    Each data set and seed counts as one run. Scores against the true factors count as higher is
    better; pose leak, rotated images and permuted poses as lower is better. Only metrics that all
    of these methods have can be compared.

    Args:
        entries: Numbers of finished cells.
        cells: All cells of the benchmark.
        datasets: Data sets to rank on.

    Returns:
        Methods from best to worst, and the metrics that they are ranked by; none where no method
        is finished or no metric shared.
    """
    wanted = {(cell.dataset, cell.seed) for cell in cells if cell.dataset in datasets}
    runs = _runs(entry for entry in entries if entry.dataset in datasets)
    whole = {method: found for method, found in runs.items() if found.keys() == wanted}
    kept = [set(run) for found in whole.values() for run in found.values()]
    shared = sorted(set.intersection(*kept)) if kept else []
    if not shared:
        return [], []
    table = [
        {"model": method, "seed": key} | {metric: run[metric] for metric in shared}
        for method, found in whole.items()
        for key, run in found.items()
    ]
    return rank_models(table, lower_is_better=[m for m in _LOWER if m in shared]), shared


def _runs(entries: Iterable[Entry]) -> dict[str, dict[tuple[str, int], dict[str, float]]]:
    """Metrics to rank by, for each method and there for each data set and seed."""
    runs: dict[str, dict[tuple[str, int], dict[str, float]]] = defaultdict(dict)
    for entry in entries:
        if entry.metric.startswith(_HIGHER) or entry.metric in _LOWER:
            run = runs[entry.method].setdefault((entry.dataset, entry.seed), {})
            run[entry.metric] = entry.value
    return runs
