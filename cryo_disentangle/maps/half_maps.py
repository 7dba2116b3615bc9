"""Density maps of sets of particles: half maps by CTF-weighted back-projection, and resolution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
from cryo_disentangle.imaging.hartley import inverse_hartley3
from cryo_disentangle.maps.solving import solve_nodes
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.mean import sum_slices
from cryo_disentangle.statistics.views import ParticleViews, view_batches

__all__ = ["DensityMaps", "envelope", "make_half_maps", "soft_sphere"]

_THRESHOLD = 0.143
# As many shells must agree for halves to show the same molecule.
_FEWEST_SHELLS = 4


class DensityMaps(NamedTuple):
    """Two half maps of a set of particles.

    Attributes:
        halves: Densities, unfiltered, two of shape (D, D, D), axes z, y, x.
        correlation: Their Fourier shell correlation within a soft mask, shape (D // 2 + 1,).
        resolution: Where that falls below 0.143, in Å.
        resolves: Whether the halves agree at all.
    """

    halves: tuple[Tensor, Tensor]
    correlation: Tensor
    resolution: float
    resolves: bool

    @property
    def full(self) -> Tensor:
        """Mean of the halves, unfiltered, shape (D, D, D)."""
        return (self.halves[0] + self.halves[1]) / 2

    @property
    def noise(self) -> Tensor:
        """Half the difference of the halves: noise as `full` has it, without signal."""
        return (self.halves[0] - self.halves[1]) / 2


def make_half_maps(
    images: ParticleDataset,
    half: Tensor,
    rows: Tensor,
    weight: Tensor | None = None,
    told: Callable[[int], None] = lambda _: None,
) -> DensityMaps:
    """Makes the half maps of a set of particles, up to the Nyquist frequency.

    Args:
        images: All particles.
        half: Half set of each, 0 or 1, shape (N,).
        rows: Which particles, shape (n,), int64.
        weight: How much each of these counts, shape (n,); None counts all alike.
        told: Called with the number of particles of each batch.

    Returns:
        The maps, in units of the images.

    Raises:
        ValueError: If a half has no particles, or the box is odd.

    References:
        Penczek 2010, Fundamentals of three-dimensional reconstruction, weighted back-projection;
        Rosenthal and Henderson 2003, for the threshold.
    """
    side = images.stack.box_size
    grid = SliceGrid(side, side // 2)

    def batches() -> Iterator[tuple[Tensor, ParticleViews]]:
        for some, views in view_batches(images, grid.disc, rows):
            yield some, views
            told(len(some))

    counted = None
    if weight is not None:
        counted = torch.zeros(len(images)).index_copy(0, rows, weight.float())
    found = sum_slices(batches(), half, grid, counted)
    first, second = (_density(sums * grid.inside[:, None], side) for sums in found)
    # There is more noise at the rim, where splines say little.
    mask = soft_sphere(side) * envelope(side)
    correlation = fourier_shell_correlation(first * mask, second * mask)
    resolution = resolution_at(correlation, images.stack.pixel_size, _THRESHOLD)
    coarsest = side * images.stack.pixel_size / _FEWEST_SHELLS
    return DensityMaps((first, second), correlation, resolution, resolution <= coarsest)


def soft_sphere(side: int) -> Tensor:
    """Makes a sphere of nine tenths of the box, with a soft edge.

    Args:
        side: Side D of the box in pixels.

    Returns:
        0 to 1, shape (D, D, D).
    """
    axis = (torch.arange(side) - side // 2).square()
    distance = (axis[:, None, None] + axis[:, None] + axis).float().sqrt()
    return ((0.45 * side - distance) / max(1.0, 0.03 * side) + 1).clamp(0, 1)


def _density(sums: Tensor, side: int) -> Tensor:
    """Density of what images add up to on a grid of radius D / 2, (G, 2)."""
    images, weights = sums.unflatten(0, (side + 3,) * 3).unbind(-1)
    nodes = solve_nodes(images, weights)
    return inverse_hartley3(nodes[1 : side + 1, 1 : side + 1, 1 : side + 1]) * envelope(side)


def envelope(side: int) -> Tensor:
    """Evaluates what a quadratic spline's transform multiplies densities by.

    Args:
        side: Side D of the box in pixels.

    Returns:
        1 in the middle, 0.26 at the middle of a face, shape (D, D, D).
    """
    gain = torch.sinc((torch.arange(side) - side // 2) / side) ** 3
    return gain[:, None, None] * gain[:, None] * gain
