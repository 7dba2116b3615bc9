"""Two subspaces of independent halves: aligned, compared shell by shell, and what that says."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from cryo_disentangle.statistics.grid import SliceGrid, shell_means

__all__ = ["aligned", "half_set_correlation", "prior_precision", "shared_axes"]

_LEAST, _MOST = 1e-3, 0.999


def aligned(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Turns two bases of volumes within their spans until they agree, the strongest volume first.

    The second is turned onto the first (Procrustes), and both along the axes of what they share.

    Args:
        first: Mean and K volumes, shape (G, K + 1).
        second: Of the other half set, shape (G, K + 1).

    Returns:
        Both; means stay as they are.
    """
    a, b = first[:, 1:], second[:, 1:]
    left, _, right = torch.linalg.svd(b.T @ a)
    b = b @ (left @ right)
    axes = shared_axes(a, b)
    return torch.cat([first[:, :1], a @ axes], 1), torch.cat([second[:, :1], b @ axes], 1)


def shared_axes(first: Tensor, second: Tensor) -> Tensor:
    """Finds the axes of what two half sets share, the strongest first.

    Args:
        first: K volumes, shape (G, K).
        second: The same volumes of the other half set, shape (G, K).

    Returns:
        An orthogonal matrix of shape (K, K), an axis a column.
    """
    return torch.linalg.eigh(first.T @ second + second.T @ first)[1].flip(1)


def half_set_correlation(first: Tensor, second: Tensor, grid: SliceGrid) -> Tensor:
    """Fourier shell correlation of each volume with its like of the other half set.

    Args:
        first: Shape (G, C).
        second: Shape (G, C).
        grid: Where volumes lie.

    Returns:
        Shells 0 .. radius + 1, averaged with their neighbours, shape (radius + 2, C).
    """
    count = grid.radius + 2
    powers = [
        _smoothed(shell_means(product, grid.node_shell, count))
        for product in (first * second, first.square(), second.square())
    ]
    return powers[0] / (powers[1] * powers[2]).sqrt().clamp_min(1e-20)


def prior_precision(correlation: Tensor, weight: Tensor, grid: SliceGrid) -> Tensor:
    """Inverse variance of a normal prior of each volume in each shell (Wiener's filter).

    A half's estimate has the signal-to-noise ratio FSC / (1 - FSC), its noise the variance that the
    normal equations' weight says. An estimate and its filtered version have the same FSC, so that
    filtering again and again does not take more and more away.

    Args:
        correlation: `half_set_correlation`, shape (radius + 2, C).
        weight: Squared CTFs on the grid, shape (G, 1).
        grid: Where volumes lie.

    Returns:
        For each node, shape (G, C).

    References:
        Scheres 2012, RELION: implementation of a Bayesian approach, Eq. 8; Gilles and Singer 2025.
    """
    kept = correlation.clamp(_LEAST, _MOST)
    noise = 1 / shell_means(weight, grid.node_shell, len(kept)).clamp_min(1e-9)
    precision = (1 - kept) / kept / noise
    return precision[grid.node_shell.clamp_max(len(kept) - 1)]


def _smoothed(powers: Tensor) -> Tensor:
    """Averages shells with their neighbours, 1 : 2 : 1."""
    padded = F.pad(powers.T[:, None], (1, 1), mode="replicate")
    kernel = powers.new_tensor([[[0.25, 0.5, 0.25]]])
    return F.conv1d(padded, kernel)[:, 0].T
