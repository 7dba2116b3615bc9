"""Expectation maximisation goes up, and stays where it should."""

from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.statistics.expectation import Expectation, expanded, expectation, maximized
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import Likelihood, residuals
from tests.statistics.test_posterior import random_subspace, random_views

NOTHING = torch.zeros(40, 0)


def _step(nodes: torch.Tensor, seed: int) -> tuple[float, torch.Tensor, Expectation]:
    """The marginal likelihood and the nodes after a step."""
    subspace = random_subspace()
    white = random_views(subspace, 40, seed).whitened(subspace.point_noise)
    found, _ = expectation(subspace.grid, pair_nodes(nodes), white, Nuisance(), NOTHING)
    seen = residuals(subspace.grid, pair_nodes(nodes), white)
    likelihood = Likelihood.of(seen.columns)
    value = float((likelihood.posterior().gain - 0.5 * likelihood.offset).sum())
    precision = torch.full_like(nodes, 1e-3)
    stepped = maximized(nodes, found, precision, subspace.grid.inside, 40.0)
    return value, stepped, found


@settings(max_examples=5)
@given(seed=st.integers(0, 2**20))
def test_steps_go_up(seed: int) -> None:
    nodes = 0.1 * random_subspace(seed).nodes
    values = []
    for _ in range(6):
        value, nodes, _ = _step(nodes, seed)
        values.append(value)
    assert all(after > before for before, after in pairwise(values))


def test_expanding_makes_coefficients_standard_normal() -> None:
    nodes = random_subspace().nodes
    _, _, found = _step(nodes, 3)
    moments = found.moments / found.count
    covariance = moments[1:, 1:] - torch.outer(moments[1:, 0], moments[1:, 0])
    moved = expanded(nodes, moments)
    first, second = moved[:, 1:], nodes[:, 1:]
    torch.testing.assert_close(
        first[:50] @ first[:50].T, second[:50] @ covariance @ second[:50].T, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(moved[:, 0], nodes[:, 0] + second @ moments[1:, 0])


def test_half_of_the_particles_stand_for_all() -> None:
    subspace = random_subspace()
    nodes, views = subspace.nodes, random_views(subspace, 20)
    white = views.whitened(subspace.point_noise)
    found, _ = expectation(subspace.grid, pair_nodes(nodes), white, Nuisance(), torch.zeros(20, 0))
    twice = Expectation.nothing(subspace.grid, subspace.rank)
    twice.add(found)
    twice.add(found)
    precision = torch.ones_like(nodes)
    inside = subspace.grid.inside
    torch.testing.assert_close(
        maximized(nodes, found, precision, inside, 40.0),
        maximized(nodes, twice, precision, inside, 40.0),
        rtol=1e-3,
        atol=1e-4,
    )
