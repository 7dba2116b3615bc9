"""What two half sets say: their common basis, prior, mask, and how many volumes are worth it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.statistics.checks import calibration, held_out_gains
from cryo_disentangle.statistics.grid import SliceGrid, shell_means
from cryo_disentangle.statistics.half_sets import (
    aligned,
    half_set_correlation,
    prior_precision,
)
from cryo_disentangle.statistics.masks import local_weights, molecule_mask, sphere_mask
from cryo_disentangle.statistics.posterior import Likelihood

GRID = SliceGrid(16, 6)


def _random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=10)
@given(seed=st.integers(0, 2**20))
def test_bases_of_one_span_become_one(seed: int) -> None:
    nodes = _random(seed, len(GRID.node_shell), 4)
    turn = torch.linalg.qr(_random(seed + 1, 3, 3)).Q
    turned = torch.cat([nodes[:, :1], nodes[:, 1:] @ turn], 1)
    first, second = aligned(nodes, turned)
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    energies = first[:, 1:].square().sum(0)
    assert bool((energies.diff() <= 1e-3 * energies[0]).all())
    # The span stays: what volumes say together of an image is the same.
    torch.testing.assert_close(
        first[:50, 1:] @ first[:50, 1:].T, nodes[:50, 1:] @ nodes[:50, 1:].T, rtol=1e-3, atol=1e-3
    )


def test_the_prior_is_wieners() -> None:
    signal = _random(1, len(GRID.node_shell), 1) / (1 + GRID.node_shell[:, None])
    weight = torch.full_like(signal, 25.0)
    noise = [_random(seed, *signal.shape) / 5 for seed in (2, 3)]
    correlation = half_set_correlation(signal + noise[0], signal + noise[1], GRID)
    precision = prior_precision(correlation, weight, GRID)
    found = shell_means(1 / precision, GRID.node_shell, GRID.radius)[:, 0]
    power = shell_means(signal.square(), GRID.node_shell, GRID.radius)[:, 0]
    torch.testing.assert_close(found[3:], power[3:], rtol=0.5, atol=2e-3)


def test_a_filter_does_not_change_the_correlation() -> None:
    first, second = (_random(seed, len(GRID.node_shell), 2) for seed in (4, 5))
    factor = 1 / (1 + GRID.node_shell[:, None].float())
    plain = half_set_correlation(first, first + second, GRID)
    filtered = half_set_correlation(first * factor, (first + second) * factor, GRID)
    torch.testing.assert_close(filtered[2:], plain[2:], rtol=0.05, atol=0.05)


def test_the_mask_holds_what_halves_share() -> None:
    grid = SliceGrid(32, 12)
    density = torch.zeros(1, *(grid.side,) * 3)
    middle = grid.side // 2
    density[0, middle - 4 : middle + 3, middle - 2 : middle + 3, middle - 3 : middle + 2] = 1
    first, second = (grid.nodes(density + 0.1 * _random(seed, *density.shape)) for seed in (1, 2))
    mask = molecule_mask(first, second, grid)
    assert float(mask[density[0] > 0].min()) == 1
    assert 0.01 < float(mask.mean()) < 0.3
    assert float(sphere_mask(grid, 0.9)[middle, middle, middle]) == 1
    assert float(sphere_mask(grid, 0.9)[0].max()) == 0


def test_volumes_weigh_where_halves_agree() -> None:
    grid = SliceGrid(32, 12)
    moving = torch.zeros(2, *(grid.side,) * 3)
    middle = grid.side // 2
    moving[0, middle - 6 : middle, middle - 3 : middle + 3, middle - 3 : middle + 3] = 1
    noisy = [moving + 0.2 * _random(seed, *moving.shape) for seed in (3, 4)]
    first, second = (grid.nodes(density) for density in noisy)
    weights = local_weights(first, second, grid)
    assert weights.shape == moving[0].shape
    assert float(weights[moving[0] > 0].mean()) > 0.8
    assert float(weights[: middle - 9].mean()) < 0.3
    twice = local_weights(grid.nodes(noisy[0] * weights), grid.nodes(noisy[1] * weights), grid)
    there = weights > 0.9
    torch.testing.assert_close(twice[there], weights[there], rtol=0.05, atol=0.05)


def _likelihood(precision: torch.Tensor, signal: torch.Tensor, seed: int) -> Likelihood:
    """Statistics of coefficients that are independent, each with its own precision."""
    noise = _random(seed, *signal.shape) * precision.sqrt()
    count = len(signal)
    information = precision * signal + noise
    return Likelihood(torch.diag(precision).expand(count, -1, -1), information, torch.ones(count))


def test_volumes_that_hold_noise_are_not_supported() -> None:
    coefficients = _random(7, 20_000, 4)
    coefficients[:, 2:] = 0
    found = held_out_gains(_likelihood(torch.tensor([4.0, 1.0, 1.0, 0.5]), coefficients, 8))
    assert found.supported() == 2
    assert found.worthwhile() == 2
    assert float(found.gain[2]) < float(found.gain[1])


def test_a_volume_that_adds_nearly_nothing_is_not_kept() -> None:
    coefficients = _random(9, 200_000, 2)
    found = held_out_gains(_likelihood(torch.tensor([50.0, 0.1]), coefficients, 10))
    assert found.supported() == 2
    assert found.worthwhile() == 1


def test_calibration_is_one_where_the_model_holds() -> None:
    precision = torch.tensor([4.0, 0.5])
    coefficients = _random(11, 50_000, 2)
    held_out = _likelihood(precision, coefficients, 12)
    found = calibration(held_out, held_out)
    assert found.excess == pytest.approx(0)
    assert found.covariance == pytest.approx((1.0, 1.0), abs=0.02)
