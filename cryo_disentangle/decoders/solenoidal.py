"""Velocities without sources: curls of splines, evaluated anywhere.

A velocity is the curl of a vector potential. Both are splines on lattices that are staggered as
electromagnetic fields are on Yee's: component x of the potential is quadratic along x and cubic
along y and z, component x of the velocity cubic along x and quadratic along y and z, and so on. The
derivative of a cubic B-spline is the difference of two quadratic ones, so the velocity's
coefficients are differences of the potential's, and its divergence vanishes at every point, not
only at nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["MARGIN", "carry", "curl", "free_nodes", "spline_velocity"]

# Nodes of zero potential on each side, so that velocities vanish before the lattice ends.
MARGIN = 4
# Points at a time: as many as keep what is computed for them in a core's cache.
_POINTS_AT_A_TIME = 2**15


def curl(potential: Tensor) -> Tensor:
    """Takes the curl of a spline.

    Args:
        potential: Coefficients of the components x, y, z on axes z, y, x, shape (B, 3, N, N, N);
            index j along an axis is node j of its cubic splines, and j + 1/2 of its quadratic ones.

    Returns:
        Coefficients of the velocity on the same lattices, shape (B, 3, N, N, N), the last node of
        each difference zero.

    References:
        Buffa, Rivas, Sangalli and Vazquez 2011, Isogeometric discrete differential forms.
    """
    x, y, z = potential.unbind(1)
    parts = [
        _forward_difference(z, 2) - _forward_difference(y, 1),
        _forward_difference(x, 1) - _forward_difference(z, 3),
        _forward_difference(y, 3) - _forward_difference(x, 2),
    ]
    return torch.stack(parts, dim=1)


def _forward_difference(values: Tensor, dim: int) -> Tensor:
    """Next minus this, zero for the last, along an axis of (B, z, y, x)."""
    difference = values.diff(dim=dim)
    return torch.cat([difference, torch.zeros_like(values.narrow(dim, 0, 1))], dim=dim)


def free_nodes(held: Tensor, nodes: int) -> Tensor:
    """Finds the nodes of a potential that don't move certain voxels.

    Args:
        held: Voxels that shall not move, boolean, shape (D, D, D).
        nodes: Number n of nodes along each axis, D / (n + 1) voxels apart, centred.

    Returns:
        1 for nodes that may be other than zero, else 0; components x, y, z on axes z, y, x, shape
        (3, n, n, n).
    """
    side = len(held)
    spacing = side / (nodes + 1)
    voxel = torch.arange(side, device=held.device) - side // 2
    free = torch.ones(3, nodes, nodes, nodes, device=held.device)
    for component in range(3):
        touched = held.float()
        for axis in (2, 1, 0):
            # Along its own axis, x being the last, a component's nodes lie half a spacing further.
            own = axis == 2 - component
            node = torch.arange(nodes, device=held.device) - (nodes - 1) / 2 + 0.5 * own
            near = (node[:, None] * spacing - voxel).abs() < 2 * spacing
            touched = torch.tensordot(touched, near.float(), ([axis], [1])).movedim(-1, axis)
        free[component] = (touched == 0).float()
        # So that those left are centred.
        free[component].select(2 - component, -1).zero_()
    return free


def carry(coefficients: Tensor, position: Tensor, steps: int) -> Tensor:
    """Moves points with a constant velocity field for unit time.

    Args:
        coefficients: As of `spline_velocity`.
        position: As of `spline_velocity`.
        steps: Steps of Runge and Kutta's classical method of fourth order.

    Returns:
        Positions, shape (B, 3, P).
    """
    step = 1 / steps
    for _ in range(steps):
        first = spline_velocity(coefficients, position)
        second = spline_velocity(coefficients, position + step / 2 * first)
        third = spline_velocity(coefficients, position + step / 2 * second)
        fourth = spline_velocity(coefficients, position + step * third)
        position = position + step / 6 * (first + 2 * (second + third) + fourth)
    return position


def spline_velocity(coefficients: Tensor, position: Tensor) -> Tensor:
    """Evaluates velocities whose coefficients `curl` gave.

    Args:
        coefficients: Shape (B, 3, N, N, N), axes z, y, x; of a potential that is zero at
            the `MARGIN` outermost nodes, so that what has left the lattice rests.
        position: (x, y, z) in node spacings from node 0, shape (B, 3, P).

    Returns:
        Node spacings per unit of time, shape (B, 3, P); differentiable once in both arguments.
    """
    # Derivatives along the points are found on the way, where anybody will ask for them.
    slopes = torch.is_grad_enabled() and position.requires_grad
    velocity: Tensor = _velocity(coefficients, position, slopes)[0]
    return velocity


class _Taps(NamedTuple):
    """Weights of the nodes about points along one axis and their derivatives, each (B, P)."""

    cubic: tuple[Tensor, ...]
    cubic_slope: tuple[Tensor, ...]
    quadratic: tuple[Tensor, ...]
    quadratic_slope: tuple[Tensor, ...]

    def of(self, *, cubic: bool) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Weights and derivatives of one degree."""
        if cubic:
            return self.cubic, self.cubic_slope
        return self.quadratic, self.quadratic_slope


def _taps(t: Tensor) -> _Taps:
    """Nodes -1, 0, 1, 2 for cubic splines and -1/2, 1/2, 3/2 for quadratic, t in [0, 1) from 0."""
    s, square = 1 - t, t.square()
    cubic = (
        s**3 / 6,
        2 / 3 - square * (1 - t / 2),
        2 / 3 - s.square() * (1 - s / 2),
        t * square / 6,
    )
    cubic_slope = (-s.square() / 2, t * (1.5 * t - 2), s * (2 - 1.5 * s), square / 2)
    quadratic = (s.square() / 2, 0.5 + t * s, square / 2)
    return _Taps(cubic, cubic_slope, quadratic, (-s, 1 - 2 * t, t))


def _component_taps(
    taps: tuple[_Taps, _Taps, _Taps], component: int
) -> list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]]:
    """Weights and derivatives along x, y and z for a component of the velocity."""
    return [taps[axis].of(cubic=axis == component) for axis in range(3)]


def _base(position: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Flat index of the lowest node that each point reads (B P,), and where it lies (B, 3, P)."""
    inside = position.clamp(1, nodes - 3)
    floor = inside.floor()
    x, y, z = (floor.long() - 1).unbind(1)
    item = torch.arange(len(position), device=position.device)[:, None]
    return (((item * nodes + z) * nodes + y) * nodes + x).flatten(), inside - floor


# An operation of its own, which a compiler would take apart into thousands.
@torch.library.custom_op(
    "cryo_disentangle::spline_velocity",
    mutates_args=(),
    schema="(Tensor coefficients, Tensor position, bool slopes) -> (Tensor, Tensor)",
)
def _velocity(coefficients: Tensor, position: Tensor, slopes: bool) -> tuple[Tensor, Tensor]:
    """Velocities (B, 3, P), and if asked their derivatives (B, 3, 3, P)."""
    nodes = coefficients.shape[-1]
    velocity, jacobian = _room(coefficients, position, slopes)
    for part in _parts(position):
        base, fraction = _base(position[part], nodes)
        taps = _all_taps(fraction)
        for component in range(3):
            table = coefficients[part, component].flatten()
            weights = _component_taps(taps, component)
            found = _contract(table, base, weights, nodes, slopes=slopes)
            velocity[part, component] = found[0]
            if slopes:
                jacobian[part, component] = torch.stack(found[1:], dim=1)
    return velocity, jacobian


@_velocity.register_fake
def _room(coefficients: Tensor, position: Tensor, slopes: bool) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    """Tensors for what `_velocity` finds."""
    count, _, points = position.shape
    return torch.empty_like(position), position.new_empty(count if slopes else 0, 3, 3, points)


@torch.library.custom_op(
    "cryo_disentangle::spline_velocity_backward",
    mutates_args=(),
    schema="(Tensor grad, Tensor position, int nodes) -> Tensor",
)
def _coefficient_gradient(grad: Tensor, position: Tensor, nodes: int) -> Tensor:
    """Gradient of coefficients: the transpose of `_velocity`."""
    total = torch.zeros_like(_coefficients_like(grad, position, nodes))
    for part in _parts(position):
        base, fraction = _base(position[part], nodes)
        taps = _all_taps(fraction)
        for component in range(3):
            weights = [pair[0] for pair in _component_taps(taps, component)]
            into = total[part, component]
            into += _spread(into.shape, base, weights, grad[part, component])
    return total


@_coefficient_gradient.register_fake
def _coefficients_like(grad: Tensor, position: Tensor, nodes: int) -> Tensor:  # noqa: ARG001
    """A tensor for what `_coefficient_gradient` finds."""
    return grad.new_empty(len(grad), 3, nodes, nodes, nodes)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: tuple[Tensor, Tensor]) -> None:  # noqa: ANN401
    """Keeps what the gradient needs."""
    coefficients, position, _ = inputs
    ctx.nodes = coefficients.shape[-1]
    ctx.save_for_backward(position, output[1])


def _velocity_gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
    """Gradient of coefficients and positions; none flows to the derivatives."""
    position, jacobian = ctx.saved_tensors
    grad_table = grad_position = None
    if ctx.needs_input_grad[0]:
        grad_table = _coefficient_gradient(grad, position, ctx.nodes)
    if ctx.needs_input_grad[1]:
        grad_position = (jacobian * grad.unsqueeze(2)).sum(1)
    return grad_table, grad_position, None


_velocity.register_autograd(_velocity_gradient, setup_context=_keep)


def _parts(position: Tensor) -> list[slice]:
    """Images at a time."""
    count = max(1, _POINTS_AT_A_TIME // position.shape[-1])
    return [slice(start, start + count) for start in range(0, len(position), count)]


def _all_taps(fraction: Tensor) -> tuple[_Taps, _Taps, _Taps]:
    x, y, z = (_taps(t) for t in fraction.unbind(1))
    return x, y, z


def _contract(
    table: Tensor,
    base: Tensor,
    weights: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]],
    nodes: int,
    *,
    slopes: bool,
) -> list[Tensor]:
    """Weighted sum over a point's nodes, and if asked its derivatives along x, y and z."""
    (wx, sx), (wy, sy), (wz, sz) = weights
    total = [torch.zeros_like(wx[0]) for _ in range(4 if slopes else 1)]
    for k in range(len(wz)):
        plane = [torch.zeros_like(wx[0]) for _ in range(3 if slopes else 1)]
        for j in range(len(wy)):
            row = [torch.zeros_like(wx[0]) for _ in range(2 if slopes else 1)]
            for i in range(len(wx)):
                # A view that starts at the tap is cheaper than adding to millions of indices.
                value = table[(k * nodes + j) * nodes + i :].index_select(0, base).view_as(wx[0])
                _add_node(row, [value], wx, sx, i)
            _add_node(plane, row, wy, sy, j)
        _add_node(total, plane, wz, sz, k)
    return total


def _add_node(
    total: list[Tensor],
    inner: list[Tensor],
    weights: tuple[Tensor, ...],
    slopes: tuple[Tensor, ...],
    node: int,
) -> None:
    """Adds a node of an axis to a sum, to its derivatives along inner axes and along this one."""
    for own, value in zip(total, inner, strict=False):
        own.addcmul_(value, weights[node])
    if len(total) > len(inner):
        total[-1].addcmul_(inner[0], slopes[node])


def _spread(
    shape: tuple[int, ...], base: Tensor, weights: list[tuple[Tensor, ...]], values: Tensor
) -> Tensor:
    """Adds weighted values (B, P) to their points' nodes: the transpose of `_contract`."""
    wx, wy, wz = weights
    nodes = shape[-1]
    total = values.new_zeros(shape)
    flat = total.flatten()
    for k in range(len(wz)):
        plane = values * wz[k]
        for j in range(len(wy)):
            row = plane * wy[j]
            for i in range(len(wx)):
                tap = flat[(k * nodes + j) * nodes + i :]
                tap.index_add_(0, base, (row * wx[i]).flatten())
    return total
