from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.circular import circular_linear_r2, fisher_lee

few = settings(max_examples=20)
seeds = st.integers(0, 10**6)


def _angles(seed: int, rows: int = 25, columns: int = 2) -> torch.Tensor:
    draws = np.random.default_rng(seed).uniform(-7, 7, size=(rows, columns))
    return torch.from_numpy(draws)


@few
@given(seeds)
def test_fisher_lee_is_the_sum_over_pairs(seed: int) -> None:
    a, b = _angles(seed)[:, 0], _angles(seed + 1)[:, 0]
    sin_a, sin_b = (a[:, None] - a).sin(), (b[:, None] - b).sin()
    expected = (sin_a * sin_b).sum() / (sin_a.square().sum() * sin_b.square().sum()).sqrt()
    torch.testing.assert_close(fisher_lee(a, b)[0, 0], expected)


@few
@given(seeds, st.floats(-10, 10))
def test_shifts_and_turns_change_nothing(seed: int, shift: float) -> None:
    a, b = _angles(seed), _angles(seed + 1)
    moved = a + shift + 2 * math.pi * torch.arange(25).double()[:, None]
    torch.testing.assert_close(fisher_lee(moved, b), fisher_lee(a, b))
    torch.testing.assert_close(circular_linear_r2(b, moved), circular_linear_r2(b, a))


@few
@given(seeds)
def test_an_angle_correlates_with_itself_and_its_mirror(seed: int) -> None:
    a = _angles(seed)[:, :1]
    assert float(fisher_lee(a, a + 1)) == pytest.approx(1)
    assert float(fisher_lee(a, 1 - a)) == pytest.approx(-1)
    assert float(circular_linear_r2(3 * (a + 1).sin() - 2, a)) == pytest.approx(1)


@few
@given(seeds)
def test_mardias_coefficient_is_that_of_the_fit(seed: int) -> None:
    x, angle = _angles(seed)[:, 0].numpy(), _angles(seed + 1)[:, 0].numpy()
    design = np.stack([np.ones(25), np.cos(angle), np.sin(angle)], axis=1)
    residual = x - design @ np.linalg.lstsq(design, x)[0]
    expected = 1 - residual.var() / x.var()
    assert float(circular_linear_r2(x, angle)) == pytest.approx(expected)


def test_what_does_not_vary_correlates_zero() -> None:
    a, constant = _angles(0), torch.full((25, 2), 0.3)
    for found in (
        fisher_lee(a, constant),
        fisher_lee(constant, a),
        circular_linear_r2(a, constant),
        circular_linear_r2(constant, a),
    ):
        assert found.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_two_directions_are_one_number() -> None:
    x = torch.tensor([1.0, 2.0, 2.0, 1.0, 1.0])
    assert float(circular_linear_r2(x, 0.7 + 0.5 * x)) == pytest.approx(1)


def test_independent_angles_correlate_little() -> None:
    a, b = _angles(0, rows=5000), _angles(1, rows=5000)
    assert float(fisher_lee(a, b).abs().max()) < 0.05
    assert float(circular_linear_r2(a, b).max()) < 0.01


@pytest.mark.parametrize("metric", [fisher_lee, circular_linear_r2])
def test_lengths_must_agree(metric: Callable[..., torch.Tensor]) -> None:
    with pytest.raises(ValueError, match="as many samples, got 25 and 24"):
        metric(_angles(0), _angles(0)[:24])
