"""Central slices of sums of equally wide Gaussians, at a cost that hardly grows with the box.

Each Gaussian is first a point, spread over 3 x 3 nodes of a grid by quadratic B-splines. The grid's
Fourier transform, divided by that of a spline and multiplied by that of a Gaussian and of a pixel,
is the slice (a non-uniform Fourier transform, Greengard and Lee 2004, with a spline as kernel).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["gaussian_slices"]

# Nodes and numbers that stay in the cache of a core: larger steps measured half as fast.
_GAUSSIANS_PER_STEP, _NODES_PER_STEP = 2**15, 2**18
_SPLINE_ORDER = 3


def gaussian_slices(
    centres: Tensor,
    weights: Tensor,
    sigma: Tensor,
    rotation: Tensor,
    frequencies: Tensor,
    box_size: int,
    pixel_size: float,
) -> Tensor:
    """Evaluates the Hartley transform of `project_gaussians` without making images.

    The grid has 3 / 2 of the box's nodes a side. Measured, the slice of 20 Gaussians of standard
    deviation 2, 1.33, 1 and 0.67 pixels is within 0.03, 0.14, 0.4 and 1.2 % of the exact transform,
    that of a protein's atoms within a third of it. It lacks what the sampling of an image folds
    back from beyond its highest frequency: 4 % at 0.67 pixels, nothing from 1 pixel on. What lies
    beyond the box is seen at its other side. Differentiable in every tensor, once.

    Args:
        centres: Model coordinates (x, y, z) in Å, shape (B, N, 3).
        weights: Integrated density of each Gaussian, shape (N,) or (B, N).
        sigma: Standard deviation of all of them in Å, a scalar.
        rotation: As in `Pose`, shape (B, 3, 3).
        frequencies: (x, y) in cycles per pixel on the lattice of the box, such that reversing their
            order negates them (`FourierDisc`), shape (M, 2).
        box_size: Image side D in pixels, even.
        pixel_size: Å per pixel.

    Returns:
        Hartley coefficients, shape (B, M), in the type of ``centres``.
    """
    side = 3 * box_size // 2
    half = (len(frequencies) + 1) // 2
    points = torch.round(frequencies[:half] * box_size).to(centres)
    # Half of the plane is transformed, and points beyond it are the conjugates of their mirrors.
    sign = 1 - 2 * (points[:, 0] < 0).to(points)
    column, row = (points * sign[:, None]).long().unbind(-1)
    nodes = row.remainder(side) * (side // 2 + 1) + column
    spectrum = _spectrum(points, sigma, box_size, pixel_size)
    position = rotation[:, :2] @ centres.transpose(1, 2) * (side / box_size / pixel_size)
    weights = weights.expand(position.shape[0], position.shape[2])
    count = len(position)
    if position.device.type == "cpu":
        count = min(_GAUSSIANS_PER_STEP // position.shape[2], _NODES_PER_STEP // side**2)
    parts = []
    for where, heavy in zip(
        position.split(max(count, 1)), weights.split(max(count, 1)), strict=True
    ):
        transform = torch.fft.rfft2(_spread(where, heavy, side)).flatten(1)
        taken = torch.view_as_real(transform.index_select(1, nodes)) * spectrum[:, None]
        real, imaginary = taken.unbind(-1)
        imaginary = imaginary * sign
        mirrored = (real + imaginary)[:, : len(frequencies) - half]
        parts.append(torch.cat([real - imaginary, mirrored.flip(-1)], dim=-1))
    return torch.cat(parts)


def _spectrum(points: Tensor, sigma: Tensor, box_size: int, pixel_size: float) -> Tensor:
    """Transform of a Gaussian and a pixel over that of a spline, at points in Fourier pixels."""
    frequencies = points / box_size
    spline = torch.sinc(points / (3 * box_size // 2)).prod(-1) ** _SPLINE_ORDER
    exponent = -2 * (math.pi / pixel_size) ** 2 * frequencies.square().sum(-1)
    return (
        torch.exp(exponent * sigma.to(points).square()) * torch.sinc(frequencies).prod(-1) / spline
    )


def _spread(position: Tensor, weights: Tensor, side: int) -> Tensor:
    """Spreads points at (B, 2, N), in nodes from node 0, over a periodic grid (B, side, side)."""
    nearest = torch.round(position.detach())
    offset = position - nearest
    profiles = torch.stack(
        [0.5 * (0.5 - offset).square(), 0.75 - offset.square(), 0.5 * (0.5 + offset).square()],
        dim=-2,
    )
    around = torch.arange(-1, 2, device=position.device)[:, None]
    x, y = (nearest.long().unsqueeze(-2) + around).remainder(side).unbind(1)
    # Gaussians stay the last axis, along which processors work on many numbers at a time.
    columns, rows = profiles.unbind(1)
    values = (rows * weights.unsqueeze(1)).unsqueeze(2) * columns.unsqueeze(1)
    nodes = (y * side).unsqueeze(2) + x.unsqueeze(1)
    grid = values.new_zeros(len(position), side * side)
    return grid.scatter_add(1, nodes.flatten(1), values.flatten(1)).unflatten(1, (side, side))
