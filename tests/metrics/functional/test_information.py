from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.information import (
    entropy,
    med,
    mig,
    modularity,
    modularity_details,
    mutual_information,
)
from tests.metrics.golden import CASES, load

few = settings(max_examples=15)
seeds = st.integers(0, 10**6)

# Where the reference reaches an explicitness, without which it tells no modularity.
EXPLICIT = [c for c in CASES if ("uniform" in c or "grid" in c) and not c.startswith("const")]
metrics = pytest.mark.parametrize("metric", [mig, modularity, med])

Metric = Callable[..., torch.Tensor]


def _noisy(seed: int, rows: int = 400, k: int = 4, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, d))
    z = factors @ rng.normal(size=(d, k)) + 0.3 * rng.normal(size=(rows, k))
    return torch.from_numpy(z), torch.from_numpy(factors)


@pytest.mark.parametrize("case", CASES)
def test_information_is_the_references(case: str) -> None:
    golden = load(case)
    labels = bin_codes(golden.z, rule="width")
    found = mutual_information(labels, golden.labels)
    expected = golden.matrix("mi_matrix_all_rows_KxD_nats")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        entropy(golden.labels), golden.matrix("factor_entropy_nats"), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("case", CASES)
def test_mig_is_the_references(case: str) -> None:
    golden = load(case)
    score = mig(golden.z, golden.labels, reference=True)
    assert float(score) == pytest.approx(golden.score("dlib_mig", "discrete_mig"), abs=1e-6)


@pytest.mark.parametrize("case", ["permsign_uniform_D3", "noisy0p9_laplace_D5"])
def test_the_reference_takes_every_number_for_a_class(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_mig_raw_continuous_factors", "discrete_mig")
    assert float(mig(golden.z, golden.factors, reference=True)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_modularity_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_modularity_all_rows", "modularity_score")
    score = modularity(golden.z, golden.labels, reference=True)
    assert float(score) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("case", EXPLICIT)
def test_modularity_of_fewer_samples_is_the_references(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_modularity_explicitness", "modularity_score")
    z, labels = golden.z[: golden.n_train], golden.labels[: golden.n_train]
    assert float(modularity(z, labels, reference=True)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "metric", "count"),
    [
        ("mig", mig, 3),
        ("mig_in_the_limit", mig, 4),
        ("modularity_in_the_limit", modularity, 4),
    ],
)
def test_few_samples_score_as_the_population(
    name: str, metric: Callable[..., torch.Tensor], count: int
) -> None:
    known = [c for c in map(load, CASES) if name in c.population_values]
    assert len(known) == count
    for golden in known:
        score = metric(golden.z, golden.factors)
        assert float(score) == pytest.approx(golden.population_values[name], abs=0.02)


@few
@given(seeds, st.integers(2, 30))
def test_plug_in_information_is_that_of_scikit_learn(seed: int, values: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(values, size=(50, 2)), rng.integers(5, size=(50, 2))
    found = mutual_information(a, b)
    for i, j in np.ndindex(2, 2):
        assert float(found[i, j]) == pytest.approx(mutual_info_score(a[:, i], b[:, j]), abs=1e-12)


@few
@given(seeds)
def test_information_is_symmetric_and_at_most_the_entropy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.integers(7, size=(60, 3)), rng.integers(4, size=(60, 2))
    for corrected in (False, True):
        found = mutual_information(a, b, miller_madow=corrected)
        torch.testing.assert_close(mutual_information(b, a, miller_madow=corrected), found.T)
        assert bool((found <= entropy(b, miller_madow=corrected) + 1e-12).all())
        own = mutual_information(a, a, miller_madow=corrected).diagonal()
        torch.testing.assert_close(own, entropy(a, miller_madow=corrected))


def test_sparse_tables_count_as_laid_out_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    z, factors = _noisy(3)
    scores = [float(metric(z, factors)) for metric in (mig, modularity, med)]
    monkeypatch.setattr("cryo_disentangle.metrics.functional._contingency._CELLS", 0)
    few_rows = [float(metric(z[:100], factors[:100])) for metric in (mig, modularity, med)]
    assert [float(metric(z, factors)) for metric in (mig, modularity, med)] == pytest.approx(scores)
    monkeypatch.undo()
    assert few_rows == pytest.approx(
        [float(metric(z[:100], factors[:100])) for metric in (mig, modularity, med)]
    )


def test_miller_and_madow_take_the_bias_off() -> None:
    rng = np.random.default_rng(0)
    a, b = bin_codes(rng.normal(size=(5000, 5))), bin_codes(rng.normal(size=(5000, 5)))
    assert float(mutual_information(a, b).mean()) == pytest.approx(0.036, abs=0.002)
    assert float(mutual_information(a, b, miller_madow=True).mean()) < 0.003


def test_the_test_of_independence_keeps_its_level() -> None:
    rng = np.random.default_rng(1)
    for rows in (30, 100, 1000):
        pruned = [
            int(modularity_details(rng.normal(size=(rows, 10)), rng.normal(size=(rows, 10))).pruned)
            for _ in range(10)
        ]
        assert sum(pruned) >= 97


@few
@given(seeds)
def test_order_and_sign_of_latents_change_nothing(seed: int) -> None:
    z, factors = _noisy(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    sign = torch.tensor([1.0, -1.0, -1.0, 1.0])
    for metric in (mig, modularity, med):
        expected = metric(z, factors)
        torch.testing.assert_close(metric((z * sign)[:, order], factors), expected)


@few
@given(seeds, st.sampled_from([1e-6, 1e-2, 1e3]))
def test_scale_changes_nothing(seed: int, scale: float) -> None:
    z, factors = _noisy(seed)
    for metric in (mig, modularity, med):
        torch.testing.assert_close(metric(z * scale, factors / scale), metric(z, factors))


@few
@given(seeds)
def test_monotone_maps_change_nothing(seed: int) -> None:
    z, factors = _noisy(seed)
    for metric in (mig, modularity, med):
        torch.testing.assert_close(metric(z.sinh(), factors.exp()), metric(z, factors))


@metrics
def test_a_perfect_code_scores_one(metric: Metric) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).laplace(size=(10_000, 3)))
    code = -factors[:, [2, 0, 1]].sinh()
    assert float(metric(code, factors)) == pytest.approx(1.0, abs=2e-3)


@metrics
def test_noise_scores_nothing(metric: Metric) -> None:
    rng = np.random.default_rng(2)
    assert float(metric(rng.normal(size=(3000, 5)), rng.normal(size=(3000, 3)))) < 0.01


@metrics
def test_constant_latents_score_nothing(metric: Metric) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2)))
    assert float(metric(torch.full((300, 3), 0.1), factors)) == 0.0


@metrics
def test_a_constant_latent_beside_a_perfect_code_costs_nothing(metric: Metric) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).normal(size=(2000, 2)))
    padded = torch.cat([factors, torch.full((2000, 1), 7.3)], dim=1)
    torch.testing.assert_close(metric(padded, factors), metric(factors, factors))


@metrics
def test_fewer_samples_than_bins_score_nothing(metric: Metric) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).normal(size=(10, 2)))
    assert float(metric(factors, factors)) == 0.0
    assert float(metric(factors[:2], factors[:2])) == 0.0


@metrics
def test_one_latent_of_one_factor_scores_one(metric: Metric) -> None:
    factor = torch.from_numpy(np.random.default_rng(0).normal(size=300))
    assert float(metric(factor, factor)) == pytest.approx(1.0)


@metrics
def test_a_constant_factor_is_not_nan(metric: Metric) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(300, 2)))
    factors = torch.cat([x, torch.ones(300, 1)], dim=1)
    assert 0.5 < float(metric(x, factors)) <= 1.0


def test_duplicates_and_missing_latents() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 2)))
    twice = x[:, [0, 0, 1, 1]]
    assert float(mig(twice, x)) == pytest.approx(0.0, abs=1e-12)
    assert float(modularity(twice, x)) == pytest.approx(1.0)
    assert float(med(twice, x)) == pytest.approx(1.0)
    assert float(mig(x, twice)) == pytest.approx(1.0, abs=5e-3)
    assert float(modularity(x, twice)) == pytest.approx(2 / 3, abs=5e-3)
    assert float(med(x, twice)) == pytest.approx(0.5, abs=5e-3)
    assert float(mig(x[:, :1], x)) == pytest.approx(0.5, abs=5e-3)


def test_modularity_says_what_it_left_out() -> None:
    golden = load("extra2_uniform_D3")
    details = modularity_details(golden.z, golden.factors)
    assert int(details.pruned) == 2
    assert int(details.informative.sum()) == 3
    assert float(details.score) == pytest.approx(1.0)
    assert details.per_latent[~details.informative].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("case", ["monotone_laplace_D2", "monotone_gaussian_D3"])
def test_the_default_sees_through_monotone_codes_where_the_reference_fails(case: str) -> None:
    golden = load(case)
    assert float(mig(golden.z, golden.factors)) > 0.99
    assert float(mig(golden.z, golden.labels, reference=True)) < 0.32


@metrics
def test_half_precision_is_taken(metric: Metric) -> None:
    z, factors = _noisy(0, rows=2000)
    coarse = metric(z.bfloat16(), factors.bfloat16())
    assert coarse.dtype == torch.float64
    assert float(coarse) == pytest.approx(float(metric(z, factors)), abs=0.05)


@metrics
def test_lengths_must_agree(metric: Metric) -> None:
    with pytest.raises(ValueError, match="as many samples, got 30 and 31"):
        metric(torch.arange(30), torch.arange(31))


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="labels must be finite, got nan at row 2, column 0"):
        entropy(torch.tensor([0.0, 1.0, math.nan]))
