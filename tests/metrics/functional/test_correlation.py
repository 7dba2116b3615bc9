from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.functional.correlation import (
    matching,
    mcc,
    mean_canonical_correlation,
    pearson_matrix,
    r2_linear,
    spearman_matrix,
    spline_mcc,
)
from tests.metrics.golden import CASES, load

few = settings(max_examples=15)
seeds = st.integers(0, 10**6)
Metric = Callable[..., torch.Tensor]


def spearman_mcc(z: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    return mcc(z, factors, correlation="spearman")


matched = (mcc, spearman_mcc, spline_mcc)
every = (*matched, r2_linear, mean_canonical_correlation)


def _draw(seed: int, rows: int = 60, k: int = 4, d: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(rows, d))
    z = factors @ rng.normal(size=(d, k)) + 0.3 * rng.normal(size=(rows, k))
    return torch.from_numpy(z), torch.from_numpy(factors)


@pytest.mark.parametrize("case", CASES)
def test_matrices_are_the_references(case: str) -> None:
    golden = load(case)
    for matrix, name in ((pearson_matrix, "pearson"), (spearman_matrix, "spearman")):
        expected = np.nan_to_num(golden.matrix(f"{name}_matrix_KxD"))
        found = matrix(golden.z, golden.factors)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("correlation", ["pearson", "spearman"])
@pytest.mark.parametrize("case", CASES)
def test_mcc_is_the_references(case: str, correlation: str) -> None:
    golden = load(case)
    expected = golden.score(f"ivae_mcc_{correlation}", "mcc")
    k, d = golden.z.shape[1], golden.factors.shape[1]
    # The reference forgives factors without a latent.
    metric = mcc if correlation == "pearson" else spearman_mcc
    score = metric(torch.from_numpy(golden.z), torch.from_numpy(golden.factors))
    assert float(score) == pytest.approx(expected * min(k, d) / d, abs=1e-6)
    padded = golden.scores[f"slow_mcc_{correlation}"].get("meanabscorr")
    if k > d and padded is not None:
        assert float(score) == pytest.approx(padded, abs=0.005)


@pytest.mark.parametrize("case", CASES)
def test_linear_ceilings_are_the_formulas(case: str) -> None:
    golden = load(case)
    score = r2_linear(golden.z, golden.factors, n_train=golden.n_train)
    assert float(score) == pytest.approx(golden.own_formulas["r2_linear"], abs=1e-6)
    each = [float(r2_linear(golden.z, f, n_train=golden.n_train)) for f in golden.factors.T]
    assert each == pytest.approx(golden.own_formulas["r2_linear_per_factor"], abs=1e-6)
    score = mean_canonical_correlation(golden.z, golden.factors)
    assert float(score) == pytest.approx(golden.own_formulas["mean_canonical_corr"], abs=1e-6)


def test_mcc_is_the_populations_where_theory_knows_it() -> None:
    known = [c for c in map(load, CASES) if "pearson_mcc" in c.population_values]
    assert len(known) == 20
    for golden in known:
        expected = golden.population_values["pearson_mcc"]
        # 1,200 samples of noise correlate by 0.03.
        assert float(mcc(golden.z, golden.factors)) == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize(
    ("name", "metric", "count"),
    [
        ("spearman_mcc", spearman_mcc, 4),
        ("r2_linear", r2_linear, 9),
        ("mean_canonical_corr", mean_canonical_correlation, 9),
    ],
)
def test_exact_maps_have_the_populations_score(name: str, metric: Metric, count: int) -> None:
    known = [c for c in map(load, CASES) if name in c.population_values]
    assert len(known) == count
    for golden in known:
        score = metric(torch.from_numpy(golden.z), torch.from_numpy(golden.factors))
        assert float(score) == pytest.approx(golden.population_values[name], abs=1e-6)


@few
@given(seeds, st.floats(1e-6, 1e6))
def test_order_sign_scale_and_offset_of_latents_change_nothing(seed: int, scale: float) -> None:
    z, factors = _draw(seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    moved = (scale * z * torch.tensor([-1.0, 1.0, -1.0, 1.0]) + 3)[:, order]
    for metric in every:
        # Knots lie evenly in ranks, so a mirrored spline is the same spline.
        torch.testing.assert_close(metric(moved, factors), metric(z, factors), atol=1e-6, rtol=0)


@few
@given(seeds)
def test_the_assignment_is_the_best(seed: int) -> None:
    matrix = torch.from_numpy(np.random.default_rng(seed).random((3, 3)))
    rows, columns = matching(matrix)
    best = max(
        float(matrix[0, i] + matrix[1, j] + matrix[2, k])
        for i, j, k in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    )
    assert float(matrix[rows, columns].sum()) == pytest.approx(best)


@few
@given(seeds)
def test_monotone_maps_leave_ranks_alone(seed: int) -> None:
    z, factors = _draw(seed)
    torch.testing.assert_close(spearman_mcc(z.sinh(), factors.exp()), spearman_mcc(z, factors))
    torch.testing.assert_close(spline_mcc(z.sinh(), factors), spline_mcc(z, factors))


@few
@given(seeds)
def test_linear_maps_leave_linear_ceilings_alone(seed: int) -> None:
    z, factors = _draw(seed)
    mixing = torch.linalg.qr(torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 4))))[0]
    for metric in (r2_linear, mean_canonical_correlation):
        torch.testing.assert_close(metric(z @ mixing, factors), metric(z, factors))


@pytest.mark.parametrize("metric", every)
def test_a_perfect_code_scores_one(metric: Metric) -> None:
    factors = torch.from_numpy(np.random.default_rng(0).uniform(size=(500, 3)))
    assert float(metric(-factors[:, [2, 0, 1]], factors)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("metric", every)
def test_noise_scores_little(metric: Metric) -> None:
    rng = np.random.default_rng(0)
    z, factors = torch.from_numpy(rng.normal(size=(5000, 3))), rng.normal(size=(5000, 3))
    assert float(metric(z, torch.from_numpy(factors))) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("metric", every)
def test_constant_latents_and_factors_score_nothing(metric: Metric) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(50, 2)))
    constant = torch.full((50, 2), 0.1)
    assert float(metric(constant, x)) == 0.0
    assert float(metric(x, constant)) == 0.0
    beside = torch.cat([x, constant], dim=1)
    torch.testing.assert_close(metric(beside, x), metric(x, x))


@pytest.mark.parametrize("metric", every)
def test_one_factor_of_one_latent(metric: Metric) -> None:
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=300))
    assert float(metric(x, x)) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("metric", matched)
def test_duplicates_and_missing_latents(metric: Metric) -> None:
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=(2000, 2)))
    twice = x[:, [0, 0, 1, 1]]
    assert float(metric(twice, x)) == pytest.approx(1, abs=1e-3)
    assert float(metric(x, twice)) == pytest.approx(0.5, abs=0.04)
    assert float(metric(x[:, :1], x)) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("metric", [r2_linear, mean_canonical_correlation])
def test_collinear_latents_count_once(metric: Metric) -> None:
    z, factors = _draw(0)
    collinear = torch.cat([z, z, z.sum(1, keepdim=True)], dim=1)
    torch.testing.assert_close(metric(collinear, factors), metric(z, factors))


@pytest.mark.parametrize("metric", every)
def test_few_samples_give_a_number(metric: Metric) -> None:
    z, factors = _draw(1, rows=4)
    assert math.isfinite(float(metric(z, factors)))


def test_a_rotation_lowers_mcc_but_not_its_linear_ceiling() -> None:
    golden = load("rot45_gaussian_D2")
    assert float(mcc(golden.z, golden.factors)) == pytest.approx(math.sqrt(0.5), abs=0.02)
    assert float(r2_linear(golden.z, golden.factors)) == pytest.approx(1)


def test_the_spline_reads_what_is_no_line_and_in_one_direction() -> None:
    f = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, size=(3000, 2)))
    assert float(mcc(f, f.square())) < 0.1
    assert float(spline_mcc(f, f.square())) > 0.999
    assert float(spline_mcc(f.square(), f)) < 0.1


def test_an_angle_is_scored_around_the_circle() -> None:
    angle = torch.from_numpy(np.random.default_rng(0).uniform(-math.pi, math.pi, size=4000))
    shifted = (angle + 2).remainder(2 * math.pi)
    factors = torch.stack([angle, angle.roll(1)], dim=1)
    both = torch.stack([shifted, shifted.roll(1)], dim=1)
    assert float(mcc(both, factors)) < 0.2
    assert float(mcc(both, factors, circular=(0, 1), circular_latents=(0, 1))) == pytest.approx(1)
    cosines = torch.stack([angle.cos(), angle.sin(), factors[:, 1]], dim=1)
    score = mcc(cosines, factors, circular=(0,), correlation="spearman")
    assert float(score) == pytest.approx(1, abs=1e-9)
    backwards = mcc(factors, cosines, circular_latents=(0,), circular=())
    assert float(backwards) == pytest.approx(2 / 3, abs=0.03)


def test_an_angle_that_is_no_column_is_refused() -> None:
    z, factors = _draw(0)
    with pytest.raises(ValueError, match=r"circular must name columns 0 to 2, got \[3\]"):
        mcc(z, factors, circular=(3,))
    with pytest.raises(ValueError, match=r"circular_latents must name columns 0 to 3, got \[-1\]"):
        mcc(z, factors, circular_latents=(-1,))


def test_an_unknown_correlation_is_refused() -> None:
    z, factors = _draw(0)
    with pytest.raises(ValueError, match=r"one of .*'spearman'.*, got 'kendall'"):
        mcc(z, factors, correlation="kendall")  # type: ignore[arg-type]


def test_too_few_knots_or_samples_are_refused() -> None:
    z, factors = _draw(0)
    with pytest.raises(ValueError, match="at least 3 knots, got 2"):
        spline_mcc(z, factors, knots=2)
    for metric in (spline_mcc, r2_linear):
        with pytest.raises(ValueError, match="z must have at least 4 samples, got 3"):
            metric(z[:3], factors[:3])


def test_the_seed_divides_the_samples() -> None:
    z, factors = _draw(0)
    assert float(r2_linear(z, factors, seed=1)) == float(r2_linear(z, factors, seed=1))
    assert float(r2_linear(z, factors, seed=1)) != float(r2_linear(z, factors, seed=2))
