from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.correlation import pearson_matrix
from cryo_disentangle.metrics.functional.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_mutual_information,
)
from tests.metrics.golden import CASES, load

few = settings(max_examples=15)
seeds = st.integers(0, 10**6)


@pytest.mark.parametrize("case", CASES)
def test_total_correlation_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_unsupervised", "gaussian_total_correlation")
    assert float(gaussian_total_correlation(golden.z)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_the_other_scores_are_the_references(case: str) -> None:
    golden = load(case)
    name = "gaussian_wasserstein_correlation"
    found = gaussian_wasserstein_correlation(golden.z)
    assert float(found) == pytest.approx(golden.score("dlib_unsupervised", name), abs=1e-6)
    found = gaussian_wasserstein_correlation(golden.z, normalized=True)
    expected = golden.score("dlib_unsupervised", f"{name}_norm")
    assert float(found) == pytest.approx(expected, abs=1e-6)
    found = pairwise_mutual_information(golden.z, reference=True)
    expected = golden.score("dlib_unsupervised", "mutual_info_score")
    assert float(found) == pytest.approx(expected, abs=1e-6)


@few
@given(seeds)
def test_scale_sign_and_order_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 3))
    moved = (z * [1e-4, -1, 1e4])[:, rng.permutation(3)]
    for metric in (gaussian_total_correlation, pairwise_mutual_information):
        assert float(metric(moved)) == pytest.approx(float(metric(z)), abs=1e-6)
    common = gaussian_wasserstein_correlation(-1e3 * z[:, ::-1], normalized=True)
    expected = gaussian_wasserstein_correlation(z, normalized=True)
    assert float(common) == pytest.approx(float(expected))


def test_total_correlation_of_two_is_that_of_their_correlation() -> None:
    z = np.random.default_rng(0).normal(size=(100, 2)) @ [[1, 0.5], [0, 1]]
    correlation = float(pearson_matrix(z[:, 0], z[:, 1]))
    expected = -0.5 * math.log(1 - correlation**2)
    assert float(gaussian_total_correlation(z)) == pytest.approx(expected)


def test_independent_latents_share_nothing() -> None:
    z = np.random.default_rng(0).normal(size=(10_000, 4))
    assert float(gaussian_total_correlation(z)) < 0.005
    assert float(gaussian_wasserstein_correlation(z, normalized=True)) < 0.005
    assert float(pairwise_mutual_information(z)) < 0.005


def test_edge_cases() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(400, 2)))
    constant = torch.full((400, 2), 0.1)
    metrics = (
        gaussian_total_correlation,
        gaussian_wasserstein_correlation,
        pairwise_mutual_information,
    )
    for metric in metrics:
        assert float(metric(constant)) == 0.0
        assert float(metric(x[:, 0])) == pytest.approx(0, abs=1e-12)
    beside = torch.cat([x, constant], dim=1)
    for metric in metrics[:2]:
        torch.testing.assert_close(metric(beside), metric(x), atol=1e-12, rtol=0)
    twice = x[:, [0, 0]]
    assert float(gaussian_total_correlation(twice)) == math.inf
    assert 0 < float(gaussian_wasserstein_correlation(twice, normalized=True)) < 2
    assert float(pairwise_mutual_information(twice)) == pytest.approx(math.log(20), abs=0.03)
    assert float(gaussian_wasserstein_correlation(constant, normalized=True)) == 0.0


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="z must be finite, got nan at row 1, column 0"):
        gaussian_total_correlation(torch.tensor([0.0, math.nan]))
