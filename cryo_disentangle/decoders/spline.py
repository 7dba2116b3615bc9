"""Quadratic B-splines on a cubic lattice, at millions of points on a CPU.

A point reads its 27 nearest nodes with weights that are products of one quadratic B-spline an axis.
Unlike trilinear interpolation (8 nodes) that is differentiable everywhere.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from cryo_disentangle.precision import may_look

__all__ = [
    "SplinePoints",
    "add_rows",
    "add_rows_on_cpu",
    "fold_nodes",
    "nodes_to_values",
    "pair_nodes",
    "spline_gain",
    "spline_slices",
    "values_to_nodes",
]


def spline_slices(nodes: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Evaluates a spline at points and at their mirror images in the centre.

    Args:
        nodes: Coefficients of C splines on S x S x S nodes, S odd, x fastest, shape (S^3, C).
        position: (x, y, z) in node spacings from the central node, at most S / 2 - 1 in absolute
            value, shape (P, 3).

    Returns:
        Values at ``position`` and at ``-position``, each (P, C); differentiable once in both
        arguments.

    References:
        Unser 1999, Splines: a perfect fit for signal and image processing, Eq. 7.
    """
    values, mirrored = _SplineSlices.apply(nodes, position)  # type: ignore[no-untyped-call]
    return values, mirrored


def nodes_to_values(nodes: Tensor) -> Tensor:
    """Evaluates a spline at its inner nodes.

    Args:
        nodes: Coefficients, shape (S, S, S).

    Returns:
        Shape (S - 2, S - 2, S - 2).
    """
    for axis in range(3):
        inner = nodes.shape[axis] - 2
        low, centre, high = (nodes.narrow(axis, start, inner) for start in range(3))
        nodes = 0.75 * centre + 0.125 * (low + high)
    return nodes


def values_to_nodes(volumes: Tensor) -> Tensor:
    """Divides volumes by what a spline of their transform's values would multiply them with.

    Interpolating the transform of the result gives the transform of the volume exactly at the
    nodes: evaluated there, a spline is its coefficients convolved with (1, 6, 1) / 8 along each
    axis, which multiplies the volume by (3 + cos(2π x / D)) / 4.

    Args:
        volumes: Shape (..., D, D, D), origin at voxel D / 2.

    Returns:
        Shape (..., D, D, D).
    """
    side = volumes.shape[-1]
    position = torch.arange(side, dtype=volumes.dtype, device=volumes.device) - side // 2
    gain = spline_gain(position, side)
    return volumes / (gain[:, None, None] * gain[:, None] * gain)


def spline_gain(position: Tensor, side: int) -> Tensor:
    """Finds what a spline of a transform's values multiplies a volume with along an axis.

    Args:
        position: In voxels from the origin, shape (N,).
        side: Of the box whose transform the nodes belong to, in voxels.

    Returns:
        Shape (N,).
    """
    return 0.75 + 0.25 * torch.cos(2 * torch.pi * position / side)


def _splines(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weights of the node below, the nearest and the node above, a fraction from the nearest."""
    return 0.5 * (0.5 - fraction) ** 2, 0.75 - fraction**2, 0.5 * (0.5 + fraction) ** 2


def _slopes(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of `_splines`."""
    return fraction - 0.5, -2 * fraction, fraction + 0.5


def _products(
    fraction: Tensor, slope_axis: int | None = None, factor: Tensor | None = None
) -> Tensor:
    """Weights of the 27 nodes or their derivative along an axis: (P, 3) -> (P, 27), x fastest."""
    taps = [
        (_slopes if axis == slope_axis else _splines)(fraction[:, axis, None]) for axis in range(3)
    ]
    if factor is not None:
        low, centre, high = (tap * factor[:, None] for tap in taps[0])
        taps[0] = low, centre, high
    if torch.compiler.is_compiling():
        # A compiler fuses the products, and stops at what names a target.
        x, y, z = (torch.cat(tap, 1) for tap in taps)
        planes = (z[:, :, None] * y[:, None]).flatten(1)
        return (planes[..., None] * x[:, None]).flatten(1)
    # Broadcasting over an innermost axis of three is four times slower than these strided writes.
    planes = fraction.new_empty(len(fraction), 9)
    weights = fraction.new_empty(len(fraction), 9, 3)
    for column in range(9):
        torch.mul(taps[2][column // 3], taps[1][column % 3], out=planes[:, column, None])
    for column in range(3):
        torch.mul(planes, taps[0][column], out=weights[..., column])
    return weights.flatten(1)


def _neighbours(nearest: Tensor, side: int) -> Tensor:
    """Rows of the 27 nodes about the nearest, shape (P, 27), int32."""
    x, y, z = (nearest.int() + side // 2).unbind(1)
    step = torch.arange(-1, 2, dtype=torch.int32, device=nearest.device)
    offset = ((step[:, None, None] * side + step[:, None]) * side + step).flatten()
    return ((z * side + y) * side + x)[:, None] + offset


def _gather(nodes: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows: (G, C), (P, 27), (P, 27) -> (P, C)."""
    return torch.nn.functional.embedding_bag(index, nodes, per_sample_weights=weights, mode="sum")


def add_rows(index: Tensor, weights: Tensor, values: Tensor, rows: int) -> Tensor:
    """Adds weighted rows at places: the transpose of a weighted sum of rows.

    Args:
        index: Places of each of the P rows, shape (P, N), int32.
        weights: Weight of the row at each place, shape (P, N).
        values: Rows, shape (P, C).
        rows: Number G of places.

    Returns:
        Sums, shape (G, C).
    """
    total = values.new_zeros(rows, values.shape[1])
    for column in range(index.shape[1]):
        total.index_add_(0, index[:, column], weights[:, column, None] * values)
    return total


def add_rows_on_cpu(index: Tensor, weights: Tensor, values: Tensor, rows: int) -> Tensor:
    """`add_rows` as a sparse matrix product; torch's own ways are ten times slower on a CPU.

    Args:
        index: Shape (P, N), int32.
        weights: Shape (P, N).
        values: Shape (P, C).
        rows: Number G of places.

    Returns:
        Shape (G, C).
    """
    # Starts of another type than the index would have both converted.
    starts = np.arange(0, index.numel() + 1, index.shape[1], dtype=index.numpy().dtype)
    matrix = sparse.csr_array(
        (weights.flatten().numpy(), index.flatten().numpy(), starts), (len(index), rows)
    )
    return torch.from_numpy(matrix.T @ values.contiguous().numpy())


def pair_nodes(nodes: Tensor) -> Tensor:
    """Lays nodes beside those of the mirrored lattice, so that both are read at once.

    Args:
        nodes: Coefficients of C splines, shape (S^3, C).

    Returns:
        Shape (S^3, 2 C).
    """
    # Mirroring the lattice reverses the order of its rows.
    return torch.cat([nodes, nodes.flip(0)], dim=1)


def fold_nodes(paired: Tensor) -> Tensor:
    """Adds the two halves of `pair_nodes`' columns up: its transpose.

    Args:
        paired: Shape (S^3, 2 C).

    Returns:
        Shape (S^3, C).
    """
    nodes, mirrored = paired.chunk(2, dim=1)
    return nodes + mirrored.flip(0)


class SplinePoints:
    """Points and their mirror images in the centre, read and added to without a graph.

    What closed forms and expectation maximisation need: the places and weights of the points are
    worked out once, and each mirror image is read together with its point.

    Args:
        position: (x, y, z) in node spacings from the central node, at most S / 2 - 1 in absolute
            value, shape (P, 3).
        side: Number S of nodes along an axis, odd.
        factor: What values at each point and its mirror image are multiplied by when they are read,
            and before they are added, shape (P,); None is 1. In the weights it costs nothing.
    """

    def __init__(self, position: Tensor, side: int, factor: Tensor | None = None) -> None:
        nearest = position.round()
        self._side = side
        self._fraction, self._factor = position - nearest, factor
        self._index = _neighbours(nearest, side)
        self._weights = _products(self._fraction, factor=factor)

    def read(self, paired: Tensor, slope_axis: int | None = None) -> Tensor:
        """Evaluates splines, or their derivative along an axis.

        Args:
            paired: Coefficients of C splines as `pair_nodes` has them, shape (S^3, 2 C).
            slope_axis: 0, 1 or 2 for the derivative along x, y or z in nodes; None for values.

        Returns:
            At each point and at its mirror image, shape (P, 2, C).
        """
        weights = self._weights
        if slope_axis is not None:
            weights = _products(self._fraction, slope_axis, self._factor)
        values = _gather(paired, self._index, weights).unflatten(1, (2, -1))
        if slope_axis is not None:
            # On the mirrored lattice, slopes change their sign.
            values[:, 1].neg_()
        return values

    def add(self, values: Tensor) -> Tensor:
        """Adds values to the nodes that `read` takes them from: its transpose.

        Args:
            values: At each point and at its mirror image, shape (P, 2, C).

        Returns:
            Sums beside those of the mirrored lattice, for `fold_nodes`, shape (S^3, 2 C).
        """
        add = add_rows_on_cpu if may_look(values.device) else add_rows
        return add(self._index, self._weights, values.flatten(1), self._side**3)


class _SplineSlices(torch.autograd.Function):
    """`spline_slices` with its hand-written gradient."""

    @staticmethod
    def forward(ctx: Any, nodes: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        side = round(len(nodes) ** (1 / 3))
        nearest = position.round()
        fraction = position - nearest
        index, weights = _neighbours(nearest, side), _products(fraction)
        ctx.save_for_backward(nodes, index, fraction, weights)
        # Mirroring the lattice reverses the order of its rows.
        mirrored = len(nodes) - 1 - index
        return _gather(nodes, index, weights), _gather(nodes, mirrored, weights)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_values: Tensor,
        grad_mirrored: Tensor,
    ) -> tuple[Tensor | None, Tensor | None]:
        nodes, index, fraction, weights = ctx.saved_tensors
        mirrored = len(nodes) - 1 - index
        grad_nodes = grad_position = None
        if ctx.needs_input_grad[0]:
            add = add_rows_on_cpu if may_look(nodes.device) else add_rows
            grad_nodes = add(index, weights, grad_values, len(nodes))
            grad_nodes += add(mirrored, weights, grad_mirrored, len(nodes))
        if ctx.needs_input_grad[1]:
            grad_position = torch.empty_like(fraction)
            for axis in range(3):
                slopes = _products(fraction, axis)
                change = grad_values * _gather(nodes, index, slopes)
                change += grad_mirrored * _gather(nodes, mirrored, slopes)
                torch.sum(change, dim=1, out=grad_position[:, axis])
        return grad_nodes, grad_position
