"""Points of a spline read without a graph agree with those that are read with one."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.decoders.spline import SplinePoints, fold_nodes, pair_nodes, spline_slices

_SIDE = 11


def _points(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = 8 * torch.rand(30, 3, generator=generator, dtype=torch.float64) - 4
    return position, torch.randn(_SIDE**3, 2, generator=generator, dtype=torch.float64)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_values_are_those_of_spline_slices(seed: int) -> None:
    position, nodes = _points(seed)
    values = SplinePoints(position, _SIDE).read(pair_nodes(nodes))
    for found, expected in zip(values.unbind(1), spline_slices(nodes, position), strict=True):
        torch.testing.assert_close(found, expected)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20), axis=st.integers(0, 2))
def test_slopes_are_derivatives(seed: int, axis: int) -> None:
    position, nodes = _points(seed)
    step = torch.zeros(3, dtype=torch.float64)
    step[axis] = 1e-6
    slope = SplinePoints(position, _SIDE).read(pair_nodes(nodes), axis)
    ahead, behind = (
        SplinePoints(position + sign * step, _SIDE).read(pair_nodes(nodes)) for sign in (1, -1)
    )
    change = (ahead - behind) / 2e-6
    # Mirror images move the other way.
    change[:, 1] *= -1
    torch.testing.assert_close(slope, change, rtol=1e-5, atol=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_adding_is_the_transpose_of_reading(seed: int) -> None:
    position, nodes = _points(seed)
    points = SplinePoints(position, _SIDE)
    values = torch.randn(30, 2, 2, dtype=torch.float64)
    forward = (points.read(pair_nodes(nodes)) * values).sum()
    torch.testing.assert_close((nodes * fold_nodes(points.add(values))).sum(), forward)
