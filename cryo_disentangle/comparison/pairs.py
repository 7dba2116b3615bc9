"""Runs compared two by two, and what all of them say of each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy.typing as npt
import torch

from cryo_disentangle.comparison.agreement import Agreement, compare_latents
from cryo_disentangle.comparison.particles_in_common import common_particles
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.metrics.functional.correlation import pearson_matrix

__all__ = ["ComparedPair", "compare_pairs", "verdicts_by_axis"]

Array = npt.NDArray[Any]


class ComparedPair(NamedTuple):
    """Two runs and what was found.

    Attributes:
        names: Of the runs.
        coordinates: Names of their axes.
        first: Latents of the first, shape (n, K), of the particles that both have.
        second: Latents of the second, shape (n, L).
        agreement: How far they agree.
        correlation: Pearson correlation of all axes, shape (K, L).
    """

    names: tuple[str, str]
    coordinates: tuple[tuple[str, ...], tuple[str, ...]]
    first: Array
    second: Array
    agreement: Agreement
    correlation: Array


def compare_pairs(runs: Mapping[str, Embedding], seed: int = 0) -> list[ComparedPair]:
    """Compares each two of several runs.

    Args:
        runs: Runs by name, two at least.
        seed: Of resamples.

    Returns:
        All pairs, in the order of the runs.

    Raises:
        ValueError: If two runs cannot be matched, or share too few particles.
    """
    found = []
    for one, other in combinations(runs, 2):
        first, second = runs[one], runs[other]
        ours, theirs = common_particles(first, second)
        a, b = first.latents[ours], second.latents[theirs]
        coordinates = (first.coordinates, second.coordinates)
        agreement = compare_latents(a, b, names=coordinates, seed=seed)
        matrix = pearson_matrix(torch.from_numpy(a), torch.from_numpy(b)).numpy()
        found.append(ComparedPair((one, other), coordinates, a, b, agreement, matrix))
    return found


def verdicts_by_axis(pairs: Sequence[ComparedPair]) -> dict[tuple[str, str], dict[str, str]]:
    """Gathers what each other run says of each axis.

    Angles are the same from both sides, so that the second run's axes share the verdict of those
    they are matched to; axes without a match are lost.

    Args:
        pairs: All pairs of some runs.

    Returns:
        Verdict by (run, axis) and other run.
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for pair in pairs:
        one, other = pair.names
        matched = {axis.partner: axis.verdict for axis in pair.agreement.axes}
        for axis in pair.agreement.axes:
            found.setdefault((one, axis.axis), {})[other] = axis.verdict
        for name in pair.coordinates[1]:
            found.setdefault((other, name), {})[one] = matched.get(name, "lost")
    return found
