"""The mean volume of two half sets in closed form, and how far up images carry signal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import fold_nodes
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.half_sets import half_set_correlation
from cryo_disentangle.statistics.processes import sum_over_processes
from cryo_disentangle.statistics.views import ParticleViews

__all__ = ["HalfMaps", "back_project", "sum_slices"]

# The field's threshold for half maps (Rosenthal and Henderson 2003).
_THRESHOLD = 0.143


class HalfMaps(NamedTuple):
    """Back-projections of two half sets.

    Attributes:
        nodes: Volume of each half on the grid, two of shape (G, 1).
        correlation: Their Fourier shell correlation in shells 0 .. radius, shape (radius + 1,).
    """

    nodes: tuple[Tensor, Tensor]
    correlation: Tensor

    def signal_radius(self) -> int:
        """Radius in Fourier pixels below which the halves agree (0.143), at least 4.

        References:
            Rosenthal and Henderson 2003, for the threshold.
        """
        below = torch.nonzero(self.correlation[1:] < _THRESHOLD)
        last = int(below[0, 0]) if len(below) else len(self.correlation) - 1
        return min(max(last, 4), len(self.correlation) - 1)


def back_project(
    batches: Iterable[tuple[Tensor, ParticleViews]], half: Tensor, grid: SliceGrid
) -> HalfMaps:
    """Adds images up on the grid, weighted with their CTF, and divides by what was added.

    Args:
        batches: Rows, shape (B,), and views with the grid's points.
        half: Half set of each row, shape (N,).
        grid: Where slices lie.

    Returns:
        The mean of each half.

    Raises:
        ValueError: If a half has no particles.

    References:
        Penczek 2010, Fundamentals of three-dimensional reconstruction, weighted back-projection.
    """
    first, second = (
        (total[:, :1] / (total[:, 1:] + 1e-3 * total[grid.inside, 1].mean())) * grid.inside[:, None]
        for total in sum_slices(batches, half, grid)
    )
    correlation = half_set_correlation(first, second, grid)[: grid.radius + 1, 0]
    return HalfMaps((first, second), correlation)


def sum_slices(
    batches: Iterable[tuple[Tensor, ParticleViews]],
    half: Tensor,
    grid: SliceGrid,
    weight: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Adds the images of each half set up on the grid, weighted with their CTF.

    Args:
        batches: Rows, shape (B,), and views with the grid's points.
        half: Half set of each row, shape (N,).
        grid: Where slices lie.
        weight: How much each row counts, shape (N,); None counts all alike.

    Returns:
        Of each half the sums of CTF times image and of squared CTF at the G nodes, shape (G, 2).

    Raises:
        ValueError: If a half has no particles.
    """
    sums = [torch.zeros(grid.side**3, 4, device=grid.points.device) for _ in range(2)]
    counts = torch.zeros(2)
    for rows, views in batches:
        for number in (0, 1):
            mine = torch.nonzero(half[rows] == number)[:, 0]
            if len(mine):
                counted = None if weight is None else weight[rows[mine]]
                sums[number] += _added(views.take(mine), grid, counted)
                counts[number] += len(mine)
    sum_over_processes([*sums, counts])
    if not bool((counts > 0).all()):
        raise ValueError(
            f"half sets of {int(counts[0])} and {int(counts[1])} particles: both are needed, since "
            "priors and checks come from comparing them"
        )
    return fold_nodes(sums[0]), fold_nodes(sums[1])


def _added(views: ParticleViews, grid: SliceGrid, weight: Tensor | None = None) -> Tensor:
    """Sums of CTF times image and of squared CTF, for `fold_nodes`, shape (G, 4)."""
    parts = [views.coefficients, views.transfer[:, :, None].expand(-1, -1, 2)]
    # Each particle's two sums carry its weight once, and its transfer once more than here.
    counted = views.transfer if weight is None else views.transfer * weight[:, None]
    return grid.add(grid.at(views.rotation, counted), torch.stack(parts, dim=3))
