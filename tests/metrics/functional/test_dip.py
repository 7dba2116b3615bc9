"""The dip test: exact values, laws, and its level and power."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.dip import dip, dip_test


def test_dips_that_are_known() -> None:
    assert dip(np.array([0.0, 0, 1, 1])) == pytest.approx(0.25)
    assert dip(np.arange(10.0)) == pytest.approx(0.05)
    assert dip(np.ones(10)) == pytest.approx(0.05)
    # Two points far from two others, by Hartigan and Hartigan's construction.
    assert dip(np.array([0.0, 0.1, 5.0, 5.1])) == pytest.approx(0.2403846, abs=0.01)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.floats(0.01, 100), st.floats(-50, 50))
def test_place_scale_and_side_do_not_matter(seed: int, scale: float, place: float) -> None:
    x = np.random.default_rng(seed).normal(size=50)
    assert dip(scale * x + place) == pytest.approx(dip(x), abs=1e-9)
    assert dip(-x) == pytest.approx(dip(x), abs=1e-9)
    assert 1 / 100 <= dip(x) <= 0.25


def test_one_peak_is_rarely_taken_for_several() -> None:
    generator = np.random.default_rng(0)
    found = [dip_test(generator.uniform(size=500)).p_value <= 0.05 for _ in range(100)]
    assert sum(found) <= 12
    assert dip_test(generator.normal(size=1000)).p_value > 0.5


def test_two_peaks_are_found_among_many_rows() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=5000) + 4 * (generator.random(5000) < 0.3)
    assert dip_test(x).p_value <= 0.01
    assert dip_test(x, seed=1).p_value <= 0.01


def test_bad_samples() -> None:
    with pytest.raises(ValueError, match="at least 4 samples"):
        dip_test(np.arange(3.0))
    with pytest.raises(ValueError, match="finite"):
        dip_test(np.array([0, 1, 2, np.nan]))
