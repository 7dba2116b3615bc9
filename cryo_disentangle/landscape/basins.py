"""Basins along an axis: where particles gather, how many, and the barriers between."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.landscape.density import LatentDensity

__all__ = ["Barrier", "Basin", "Basins", "find_basins", "find_valleys"]

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

_BAND = (0.025, 0.975)
# Valleys more shallow than this, in kT, are not looked at.
_LEAST_HEIGHT = 0.1
# Twice the logarithm of a likelihood ratio: 10 nats. Without a valley it came up to 18.5 in 28
# draws of uniform and Laplace distributed latents; with one it was 29 and more in 12.
_LEAST_EVIDENCE = 20.0


class Basin(NamedTuple):
    """A basin of a free energy.

    Attributes:
        cell: Where it is deepest, as an index of the grid.
        population: Share of the particles.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    cell: int
    population: float
    low: float
    high: float


class Barrier(NamedTuple):
    """What lies between two basins.

    Attributes:
        cell: Where it is highest, as an index of the grid.
        height: Above the shallower basin, in kT.
        low: Lower end of its 95 % interval.
        high: Upper end.
    """

    cell: int
    height: float
    low: float
    high: float


class Basins(NamedTuple):
    """Basins along an axis, in its order, and barriers between one and the next.

    Attributes:
        basins: The basins, at least one.
        barriers: One fewer.
    """

    basins: list[Basin]
    barriers: list[Barrier]


def find_valleys(density: LatentDensity, grid: FloatArray) -> list[int]:
    """Finds the valleys of a density of one coordinate that the particles support.

    From the deepest on, a valley counts where the density explains the particles better than one
    without it by more than chance.

    Args:
        density: The density.
        grid: Ascending values, shape (P,).

    Returns:
        Places of the valleys on the grid, ascending.
    """
    heights = density.kernel(grid[:, None]) @ density.mass

    def split(begin: int, end: int) -> list[int]:
        part = heights[begin:end]
        left = np.maximum.accumulate(part)
        right = np.maximum.accumulate(part[::-1])[::-1]
        tiny = np.finfo(np.float64).tiny
        depth = np.log((np.minimum(left, right) + tiny) / (part + tiny))
        valley = int(depth.argmax())
        if depth[valley] < _LEAST_HEIGHT:
            return []
        inner = np.flatnonzero((part[1:-1] >= part[:-2]) & (part[1:-1] >= part[2:])) + 1
        peaks = grid[begin + inner]
        low, high = float(grid[begin]), float(grid[end - 1])
        if density.evidence_for_valley(low, high, peaks) < _LEAST_EVIDENCE:
            return []
        at = begin + valley
        return [*split(begin, at + 1), at, *split(at, end)]

    return split(0, len(grid))


def find_basins(density: FloatArray, resampled: FloatArray, valleys: list[int]) -> Basins:
    """Measures the basins between valleys.

    Args:
        density: On an even grid, shape (P,).
        resampled: Of B resamples, shape (B, P).
        valleys: Where one ends and the next begins, ascending.

    Returns:
        The basins; populations are shares of the density on the grid.
    """
    ends = [0, *valleys, len(density)]
    whole = resampled.sum(1)
    basins = []
    for begin, end in pairwise(ends):
        low, high = np.quantile(resampled[:, begin:end].sum(1) / whole, _BAND)
        share = float(density[begin:end].sum() / density.sum())
        deepest = begin + int(density[begin:end].argmax())
        basins.append(Basin(deepest, share, float(low), float(high)))
    peaks = [basin.cell for basin in basins]
    barriers = []
    for cell, (left, right) in zip(valleys, pairwise(peaks), strict=True):
        low, high = np.quantile(_height(resampled, left, right, cell), _BAND)
        height = float(_height(density, left, right, cell))
        barriers.append(Barrier(cell, height, float(low), float(high)))
    return Basins(basins, barriers)


def _height(density: FloatArray, left: int, right: int, cell: int) -> FloatArray:
    """Logarithm of the lower of two peaks above a valley, of densities (..., P)."""
    tiny = np.finfo(np.float64).tiny
    lower = np.minimum(density[..., left], density[..., right])
    return np.asarray(np.log((lower + tiny) / (density[..., cell] + tiny)))
