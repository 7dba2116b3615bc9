from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.binning import bin_codes, classes
from tests.metrics.golden import equal_width_labels

few = settings(max_examples=20)
seeds = st.integers(0, 10**6)


@few
@given(seeds, st.integers(1, 30), st.integers(2, 60))
def test_equal_width_bins_are_those_of_numpy(seed: int, bins: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    # Values on a grid lie on the edges, where a rounding decides.
    x = np.stack([rng.normal(size=rows), rng.integers(0, 9, rows) / 8, np.full(rows, 3.0)], axis=1)
    np.testing.assert_array_equal(bin_codes(x, bins, rule="width"), equal_width_labels(x, bins) - 1)


@few
@given(seeds, st.integers(1, 10), st.integers(1, 30))
def test_rank_bins_hold_equal_mass(seed: int, bins: int, size: int) -> None:
    x = np.random.default_rng(seed).normal(size=bins * size)
    assert bin_codes(x, bins)[:, 0].bincount().tolist() == [size] * bins


@few
@given(seeds, st.integers(2, 25))
def test_rank_bins_follow_order_alone_and_keep_ties_together(seed: int, bins: int) -> None:
    x = torch.from_numpy(np.random.default_rng(seed).integers(0, 40, size=(200, 2))).double()
    labels = bin_codes(x, bins)
    assert torch.equal(bin_codes((x / 10).exp(), bins), labels)
    order = x[:, 0].argsort()
    assert bool((labels[order, 0].diff() >= 0).all())
    assert bool((labels[order, 0].diff()[x[order, 0].diff() == 0] == 0).all())
    assert 0 <= int(labels.min()) <= int(labels.max()) < bins


def test_few_values_keep_a_bin_each_however_rare() -> None:
    x = torch.tensor([5.0, -1.0, 5.0, 5.0, 5.0, 5.0, 5.0, 7.0, 5.0, 8.0])
    assert bin_codes(x, 4)[:, 0].tolist() == [1, 0, 1, 1, 1, 1, 1, 2, 1, 3]


@pytest.mark.parametrize("rule", ["rank", "width"])
def test_angles_are_wrapped_before_they_are_cut(rule: Literal["rank", "width"]) -> None:
    angle = torch.linspace(0.01, 6.2, 50).double()
    turned = angle + 2 * math.pi * (torch.arange(50) % 7 - 3)
    labels = bin_codes(angle, 8, rule=rule, circular=True)
    assert torch.equal(bin_codes(turned, 8, rule=rule, circular=True), labels)
    assert labels.unique().tolist() == list(range(8))


def test_bins_of_equal_width_divide_the_whole_circle() -> None:
    quarter = torch.tensor([0.1, 1.5]).double()
    assert bin_codes(quarter, 4, rule="width", circular=True)[:, 0].tolist() == [0, 0]


def test_no_bins_are_refused() -> None:
    with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
        bin_codes(torch.ones(3), 0)


def test_an_unknown_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="rule must be 'rank' or 'width', got 'mass'"):
        bin_codes(torch.ones(3), rule="mass")  # type: ignore[arg-type]


@few
@given(seeds)
def test_classes_are_equal_where_values_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for x in (rng.integers(-5, 5, (30, 2)), rng.integers(-5, 5, (30, 2)) * 1e9 + 0.25):
        labels = classes(x, "x")
        assert 0 <= int(labels.min()) <= int(labels.max()) < 30
        same = x[:, None] == x[None]
        np.testing.assert_array_equal(labels[:, None] == labels[None], same)
