"""Splines against scipy's, their gradients, and both ways of adding them up."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from cryo_disentangle.decoders.spline import (
    add_rows,
    add_rows_on_cpu,
    nodes_to_values,
    spline_slices,
    values_to_nodes,
)
from cryo_disentangle.imaging.hartley import hartley3

_seeds = st.integers(0, 2**31)


def draw(seed: int, side: int, channels: int, count: int) -> tuple[Tensor, Tensor]:
    """Nodes (side^3, channels) and positions within reach."""
    rng = np.random.default_rng(seed)
    reach = side / 2 - 1
    nodes = torch.from_numpy(rng.normal(size=(side**3, channels)))
    return nodes, torch.from_numpy(rng.uniform(-reach, reach, (count, 3)))


@settings(max_examples=20)
@given(_seeds, st.sampled_from([3, 5, 9]), st.integers(1, 4))
def test_values_are_those_of_scipy(seed: int, side: int, channels: int) -> None:
    nodes, position = draw(seed, side, channels, 30)
    for sign, values in zip((1, -1), spline_slices(nodes, position), strict=True):
        where = (sign * position.flip(1) + side // 2).T.numpy()
        for channel in range(channels):
            cube = nodes[:, channel].reshape(side, side, side).numpy()
            expected = ndimage.map_coordinates(cube, where, order=2, prefilter=False)
            np.testing.assert_allclose(values[:, channel].numpy(), expected, atol=1e-12)


def test_values_at_nodes() -> None:
    nodes, _ = draw(0, 9, 1, 1)
    axis = torch.arange(-3.0, 4.0, dtype=torch.float64)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    values, _ = spline_slices(nodes, torch.stack([x, y, z], dim=-1).flatten(0, 2))
    cube = nodes.reshape(9, 9, 9)
    torch.testing.assert_close(values.reshape(7, 7, 7), nodes_to_values(cube))


def test_gradients() -> None:
    nodes, position = draw(1, 5, 2, 6)
    assert torch.autograd.gradcheck(
        spline_slices, (nodes.requires_grad_(), position.requires_grad_())
    )


def test_slope_is_continuous_where_the_nearest_node_changes() -> None:
    nodes, _ = draw(2, 7, 1, 1)
    slopes = []
    for x in (0.5 - 1e-9, 0.5 + 1e-9):
        position = torch.tensor([[x, 0.2, -0.9]], dtype=torch.float64, requires_grad=True)
        spline_slices(nodes, position)[0].sum().backward()
        slopes.append(position.grad)
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-7)


@settings(max_examples=20)
@given(_seeds, st.integers(1, 50), st.integers(1, 5))
def test_both_ways_of_adding_rows_agree(seed: int, count: int, channels: int) -> None:
    rng = np.random.default_rng(seed)
    index = torch.from_numpy(rng.integers(0, 20, (count, 27)).astype(np.int32))
    weights = torch.from_numpy(rng.normal(size=(count, 27)))
    values = torch.from_numpy(rng.normal(size=(count, channels)))
    added = add_rows(index, weights, values, 20)
    torch.testing.assert_close(add_rows_on_cpu(index, weights, values, 20), added)
    expected = torch.zeros(20, channels, dtype=torch.float64)
    for row, weight, value in zip(index, weights, values, strict=True):
        for node, factor in zip(row, weight, strict=True):
            expected[int(node)] += factor * value
    torch.testing.assert_close(added, expected)


@settings(max_examples=15)
@given(_seeds, st.sampled_from([4, 6, 8]))
def test_divided_volumes_give_exact_values_at_nodes(seed: int, side: int) -> None:
    volume = torch.from_numpy(np.random.default_rng(seed).normal(size=(side,) * 3))
    nodes = hartley3(values_to_nodes(volume))
    around = torch.nn.functional.pad(nodes[None, None], (1,) * 6, mode="circular")[0, 0]
    torch.testing.assert_close(nodes_to_values(around), hartley3(volume))


def test_positions_that_are_no_numbers_are_refused() -> None:
    nodes, position = draw(3, 5, 1, 4)
    position[2, 1] = torch.nan
    with pytest.raises(RuntimeError, match="embedding_bag"):
        spline_slices(nodes, position)
