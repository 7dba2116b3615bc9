"""Areas under shell correlations and earth mover's distances against their definitions and laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.metrics.functional.populations import earth_movers_distance, fsc_area

SEEDS = st.integers(0, 10_000)


def volume(seed: int, side: int = 12) -> torch.Tensor:
    return torch.randn(side, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [1.0, 3.0, -0.5])
def test_a_volume_and_its_multiples_have_the_whole_area(factor: float) -> None:
    one = volume(0)
    assert fsc_area(one, factor * one) == pytest.approx(5 / 12)
    assert fsc_area(one, torch.zeros_like(one)) == 0


def test_the_area_is_that_of_the_curve_over_cycles_per_pixel() -> None:
    one, other = volume(0), volume(0) + volume(1)
    curve = fourier_shell_correlation(one, other)[:6].abs().numpy()
    assert fsc_area(one, other) == pytest.approx(np.trapezoid(curve, np.arange(6) / 12))
    mask = (torch.rand(12, 12, 12, generator=torch.Generator().manual_seed(2)) > 0.5).float()
    assert fsc_area(one, other, mask) == fsc_area(one * mask, other * mask)
    with pytest.raises(ValueError, match="cubes of equal side"):
        fsc_area(one, volume(1, 8))


@settings(max_examples=20)
@given(seed=SEEDS, here=st.integers(1, 6), there=st.integers(1, 6))
def test_on_a_line_it_is_the_wasserstein_distance(seed: int, here: int, there: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, a, b = (rng.random(count) for count in (here, there, here, there))
    found = earth_movers_distance(a, b, np.abs(x[:, None] - y))
    assert found == pytest.approx(wasserstein_distance(x, y, a, b), abs=1e-9)


@settings(max_examples=10)
@given(seed=SEEDS)
def test_equal_weights_are_moved_one_to_one(seed: int) -> None:
    cost = np.random.default_rng(seed).random((4, 4))
    best = min(cost[range(4), order].mean() for order in itertools.permutations(range(4)))
    assert earth_movers_distance(np.ones(4), np.ones(4), cost) == pytest.approx(best, abs=1e-9)


def test_scale_of_weights_and_order_do_not_matter_and_equal_distributions_cost_nothing() -> None:
    rng = np.random.default_rng(0)
    points, a, b = rng.random((5, 2)), rng.random(5), rng.random(5)
    cost = np.linalg.norm(points[:, None] - points, axis=2)
    assert earth_movers_distance(a, 3 * a, cost) == pytest.approx(0, abs=1e-12)
    moved = earth_movers_distance(a, b, cost)
    assert earth_movers_distance(b, a, cost.T) == pytest.approx(moved)
    order = rng.permutation(5)
    assert earth_movers_distance(a[order], b, cost[order]) == pytest.approx(moved)


@pytest.mark.parametrize(
    ("first", "cost", "match"),
    [
        ([1.0, -1.0], np.ones((2, 2)), "first: weights of shape"),
        ([0.0, 0.0], np.ones((2, 2)), "first: weights of shape"),
        ([np.nan, 1.0], np.ones((2, 2)), "first: weights of shape"),
        ([1.0, 1.0], np.ones((2, 3)), r"cost must be finite numbers of shape \(2, 2\)"),
        ([1.0, 1.0], np.full((2, 2), np.inf), "cost must be finite"),
    ],
)
def test_what_makes_no_sense_is_refused(first: list[float], cost: np.ndarray, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        earth_movers_distance(np.array(first), np.ones(2), cost)
