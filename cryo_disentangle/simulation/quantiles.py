"""Quantile functions, which turn uniform numbers into others."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["laplace_quantile", "tabulated_quantile"]


def laplace_quantile(probability: Tensor) -> Tensor:
    """Quantile function of the Laplace distribution of mean 0 and scale 1.

    Args:
        probability: In (0, 1), any shape.

    Returns:
        Values of the same shape.
    """
    centred = probability - 0.5
    return -torch.sign(centred) * torch.log1p(-2 * centred.abs())


def tabulated_quantile(grid: Tensor, density: Tensor, probability: Tensor) -> Tensor:
    """Inverts the distribution function of a density given on a grid.

    The density is taken as linear between the points, so its integral is the trapezoidal rule and
    within a cell the inversion is that of a quadratic, exactly.

    Args:
        grid: Increasing positions, shape (G,).
        density: Density at the positions up to a factor, shape (G,), not negative.
        probability: In (0, 1), shape (B,).

    Returns:
        Positions, shape (B,).
    """
    width = grid.diff()
    mass = 0.5 * (density[1:] + density[:-1]) * width
    cumulative = torch.cat([mass.new_zeros(1), mass.cumsum(0)])
    target = probability * cumulative[-1]
    cell = (torch.searchsorted(cumulative, target, right=True) - 1).clamp(0, len(width) - 1)
    rest = target - cumulative[cell]
    start, slope = density[cell], density.diff()[cell] / width[cell]
    # The stable root of start x + slope x² / 2 = rest.
    root = start + (start.square() + 2 * slope * rest).clamp_min(0).sqrt()
    step = 2 * rest / root.clamp_min(torch.finfo(root.dtype).tiny)
    return grid[cell] + torch.minimum(step, width[cell])
