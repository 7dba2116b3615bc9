"""Density carried along by a flow and seen in projection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["OVERSAMPLING", "interpolate", "project_lattice"]

# Grid points a pixel of images that density is put down on.
OVERSAMPLING = 2
# A point between 0 and the side reads one node below and up to two beyond the periodic grid.
_PADDING = 3


def interpolate(values: Tensor, along_x: Tensor, along_y: Tensor, along_z: Tensor) -> Tensor:
    """Applies a matrix along each axis.

    Args:
        values: Shape (d, G, G, G), axes z, y, x.
        along_x: Matrix, shape (E, G).
        along_y: Matrix, shape (E, G).
        along_z: Matrix, shape (E, G).

    Returns:
        Shape (d, E, E, E).
    """
    values = along_y @ (values @ along_x.T)
    return (along_z @ values.flatten(2)).unflatten(2, values.shape[2:])


def project_lattice(
    lattice: Tensor, matrix: Tensor, chosen: Tensor, mass: Tensor, side: int
) -> Tensor:
    """Projects the mass of carried voxels onto images.

    Where a voxel has gone is interpolated between the points of a coarser lattice; it is found
    again for the gradient rather than kept, so that memory does not grow with batch times volume.

    Args:
        lattice: Where the lattice's points have gone, in image pixels from the centre: x and y of
            images, or x, y and z of volumes, d = 2 or 3; axes z, y, x, shape (B, d, G, G, G).
        matrix: Interpolation along each axis from the lattice to voxels, shape (E, G).
        chosen: Flat indices, of the E x E x E voxels, of those that hold mass, shape (P,).
        mass: Their mass, shape (P,).
        side: Image side D in pixels.

    Returns:
        Images (B, S, S) or volumes (B, S, S, S) of side S = `OVERSAMPLING` * D, origin at
        pixel S / 2. Positions are periodic in D; mass is divided between the 3^d nearest pixels
        by quadratic B-splines, and its sum exact. Differentiable once in lattice and mass.
    """
    images: Tensor = _project(lattice, matrix, chosen, mass, side * OVERSAMPLING)
    return images


# An operation of its own, which a compiler would take apart into as many as there are images.
@torch.library.custom_op(
    "cryo_disentangle::project_lattice",
    mutates_args=(),
    schema="(Tensor lattice, Tensor matrix, Tensor chosen, Tensor mass, int side) -> Tensor",
)
def _project(lattice: Tensor, matrix: Tensor, chosen: Tensor, mass: Tensor, side: int) -> Tensor:
    """`project_lattice`, an image at a time."""
    images = [
        _fold(_splat(_grid_position(one, matrix, chosen, side), mass, side)) for one in lattice
    ]
    return torch.stack(images)


@_project.register_fake
def _(lattice: Tensor, matrix: Tensor, chosen: Tensor, mass: Tensor, side: int) -> Tensor:  # noqa: ARG001
    count, dimensions = lattice.shape[:2]
    return mass.new_empty(count, *(side,) * dimensions)


@torch.library.custom_op(
    "cryo_disentangle::project_lattice_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor lattice, Tensor matrix, Tensor chosen, Tensor mass)"
    " -> (Tensor, Tensor)",
)
def _gradients(
    grad: Tensor, lattice: Tensor, matrix: Tensor, chosen: Tensor, mass: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of lattice and mass."""
    grad_lattice, grad_mass = torch.empty_like(lattice), torch.zeros_like(mass)
    extent, side = len(matrix), grad.shape[-1]
    for one, image, into in zip(lattice, grad, grad_lattice, strict=True):
        position = _grid_position(one, matrix, chosen, side)
        value, slope = _read(_unfold(image), position)
        grad_mass += value
        dense = slope.new_zeros(len(one), extent**3)
        dense.index_copy_(1, chosen, slope.mul_(OVERSAMPLING * mass))
        into.copy_(interpolate(dense.unflatten(1, (extent,) * 3), *(matrix.T,) * 3))
    return grad_lattice, grad_mass


@_gradients.register_fake
def _(
    grad: Tensor,  # noqa: ARG001
    lattice: Tensor,
    matrix: Tensor,  # noqa: ARG001
    chosen: Tensor,  # noqa: ARG001
    mass: Tensor,
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(lattice), torch.empty_like(mass)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401, ARG001
    """Keeps what the gradient needs."""
    ctx.save_for_backward(*inputs[:4])


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    """Gradients in the order of the arguments."""
    grad_lattice, grad_mass = _gradients(grad, *ctx.saved_tensors)
    return grad_lattice, None, None, grad_mass, None


_project.register_autograd(_backward, setup_context=_keep)


def _grid_position(lattice: Tensor, matrix: Tensor, chosen: Tensor, side: int) -> Tensor:
    """Where the chosen voxels lie on a periodic grid of a side, from 0 to the side, (d, P)."""
    voxels = interpolate(lattice, matrix, matrix, matrix).flatten(1).index_select(1, chosen)
    return voxels.mul_(OVERSAMPLING).add_(side // 2).remainder_(side)


def _nearest(position: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Flat index of the lowest of a point's nodes on the padded grid, and its fraction (d, P)."""
    nearest = position.round()
    index = nearest.long()
    flat = index[-1]
    for axis in range(len(position) - 2, -1, -1):
        flat = flat * (side + _PADDING) + index[axis]
    return flat, position - nearest


def _weights(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quadratic B-splines of the node below, the nearest and the node above."""
    low, high = 0.5 - fraction, 0.5 + fraction
    return low.square() / 2, 0.75 - fraction.square(), high.square() / 2


def _slopes(fraction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Derivatives of `_weights`."""
    return fraction - 0.5, -2 * fraction, fraction + 0.5


def _splat(position: Tensor, mass: Tensor, side: int) -> Tensor:
    """Divides mass between nodes: (d, P), (P,) -> the padded grid, last axis x."""
    index, fraction = _nearest(position, side)
    grid = mass.new_zeros((side + _PADDING,) * len(position))
    _spread(grid.flatten(), index, [_weights(t) for t in fraction], mass, side + _PADDING)
    return grid


def _spread(
    flat: Tensor, index: Tensor, weights: Sequence[tuple[Tensor, ...]], mass: Tensor, side: int
) -> None:
    """Divides mass along the last of the axes, and each share along the others."""
    *inner, outer = weights
    step = side ** len(inner)
    for tap, weight in enumerate(outer):
        # A view that starts at the tap is cheaper than adding to as many indices.
        tapped, share = flat[tap * step :], mass * weight
        if inner:
            _spread(tapped, index, inner, share, side)
        else:
            tapped.index_add_(0, index, share)


def _read(grid: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Values (P,) at positions (d, P) on the padded grid, and their derivatives (d, P)."""
    side = len(grid) - _PADDING
    index, fraction = _nearest(position, side)
    taps = [(_weights(t), _slopes(t)) for t in fraction]
    value, *slopes = _gather(grid.flatten(), index, taps, len(grid))
    return value, torch.stack(slopes)


def _gather(
    flat: Tensor,
    index: Tensor,
    taps: Sequence[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]],
    side: int,
) -> list[Tensor]:
    """Sum over nodes and its derivative along each axis, the last axis outermost."""
    if not taps:
        return [flat.index_select(0, index)]
    *inner, (weights, slopes) = taps
    step = side ** len(inner)
    total = [torch.zeros_like(weights[0]) for _ in range(len(taps) + 1)]
    for tap, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
        found = _gather(flat[tap * step :], index, inner, side)
        for into, one in zip(total, found, strict=False):
            into.addcmul_(one, weight)
        total[-1].addcmul_(found[0], slope)
    return total


def _fold(grid: Tensor) -> Tensor:
    """Adds the padding to where it belongs on the periodic grid."""
    for axis in range(grid.ndim):
        side = grid.shape[axis] - _PADDING
        grid.narrow(axis, side, 1).add_(grid.narrow(axis, 0, 1))
        grid.narrow(axis, 1, 2).add_(grid.narrow(axis, side + 1, 2))
        grid = grid.narrow(axis, 1, side)
    return grid


def _unfold(grid: Tensor) -> Tensor:
    """Repeats the periodic grid in its padding: the transpose of `_fold`."""
    for axis in range(grid.ndim):
        side = grid.shape[axis]
        ends = grid.narrow(axis, side - 1, 1), grid.narrow(axis, 0, 2)
        grid = torch.cat([ends[0], grid, ends[1]], dim=axis)
    return grid
