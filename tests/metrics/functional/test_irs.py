from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.irs import irs
from tests.metrics.golden import CASES, load

few = settings(max_examples=15)
seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("case", CASES)
def test_the_reference_form_is_the_references(case: str) -> None:
    golden = load(case)
    for quantile, key in ((0.99, "dlib_irs"), (1.0, "dlib_irs_q1")):
        score = irs(golden.z, golden.factors, quantile=quantile, reference=True)
        assert float(score) == pytest.approx(golden.score(key, "IRS"), abs=1e-6)


@few
@given(seeds)
def test_order_sign_and_scale_of_each_latent_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z, factors = rng.normal(size=(80, 3)), rng.normal(size=(80, 2))
    moved = (z * [1e-4, -1, 1e4] + 1)[:, rng.permutation(3)]
    assert float(irs(moved, factors)) == pytest.approx(float(irs(z, factors)), abs=1e-6)


def test_a_code_that_stands_still_scores_one() -> None:
    factors = torch.from_numpy(np.random.default_rng(0).integers(5, size=(500, 2)))
    assert float(irs(factors[:, [1, 0]], factors)) == pytest.approx(1)
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(500, 2)))
    assert float(irs(noise, factors)) < 0.5


def test_edge_cases() -> None:
    x = torch.from_numpy(np.random.default_rng(0).integers(5, size=(300, 2))).double()
    constant = torch.full((300, 2), 0.1)
    assert float(irs(constant, x)) == 0.0
    assert float(irs(torch.cat([x, constant], dim=1), x)) == pytest.approx(1)
    assert float(irs(x, constant)) == pytest.approx(0, abs=0.2)
    assert float(irs(x[:, :1], x[:, :1])) == pytest.approx(1)
    assert float(irs(x[:, [0, 0, 1]], x[:, [0, 1, 1]])) == pytest.approx(1)
    assert float(irs(x[:, :1], x)) == pytest.approx(1)
    few_samples = torch.arange(5.0)
    assert float(irs(few_samples, few_samples)) == pytest.approx(1)


def test_a_quantile_is_a_share() -> None:
    with pytest.raises(ValueError, match="quantile must be between 0 and 1, got 99"):
        irs(torch.arange(5), torch.arange(5), quantile=99)
