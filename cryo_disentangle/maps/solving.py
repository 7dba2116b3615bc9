"""The map whose slices fit what images add up to, solved for on the grid."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["solve_nodes"]

# A quadratic spline's correlation with itself at whole distances: a quintic spline there.
_OVERLAP = (66 / 120, 26 / 120, 1 / 120)
# Share of the mean weight that is added to each node's.
_RIDGE = 0.1
_STEPS = 6


def solve_nodes(images: Tensor, weights: Tensor) -> Tensor:
    """Finds the nodes of a map whose slices fit images best.

    Where slices lie densely, as they do at low frequencies towards the centre, dividing sums by
    weights takes values from there. Least squares does not. Its matrix, spline times spline summed
    over points, is that of evenly spread points between nodes of the square root of both weights,
    so that conjugate gradients need no images.

    Args:
        images: Sums of CTF times image, shape (S, S, S).
        weights: Sums of squared CTF, 0 where nothing lies, shape (S, S, S).

    Returns:
        Coefficients of quadratic splines, shape (S, S, S); the density is their transform times
        that of the spline.

    References:
        Penczek 2010, Fundamentals of three-dimensional reconstruction, direct Fourier inversion.
    """
    root = weights.clamp_min(0).sqrt()
    seen = weights > 0
    ridge = _RIDGE * float(weights[seen].mean()) if bool(seen.any()) else 1.0
    scale = weights * _OVERLAP[0] ** 3 + ridge

    def apply(nodes: Tensor) -> Tensor:
        return root * _overlapped(root * nodes) + ridge * nodes

    nodes = torch.zeros_like(images)
    rest = images.clone()
    step = rest / scale
    gain = (rest * step).sum()
    for _ in range(_STEPS):
        if not float(gain) > 0:
            break
        applied = apply(step)
        length = gain / (step * applied).sum()
        nodes += length * step
        rest -= length * applied
        scaled = rest / scale
        last, gain = gain, (rest * scaled).sum()
        step = scaled + gain / last * step
    return nodes


def _overlapped(nodes: Tensor) -> Tensor:
    """Convolves with the spline's correlation along each axis, nothing beyond the ends."""
    for axis in range(3):
        total = _OVERLAP[0] * nodes
        size = nodes.shape[axis]
        for distance, share in enumerate(_OVERLAP[1:], start=1):
            ahead = nodes.narrow(axis, distance, size - distance)
            behind = nodes.narrow(axis, 0, size - distance)
            total.narrow(axis, 0, size - distance).add_(ahead, alpha=share)
            total.narrow(axis, distance, size - distance).add_(behind, alpha=share)
        nodes = total
    return nodes
