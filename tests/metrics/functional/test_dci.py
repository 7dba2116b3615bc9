"""DCI against its reference, its laws and its edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.metrics.functional.dci import DCIScores, dci
from tests.metrics.golden import load

SEEDS = st.integers(0, 10_000)


def draw(samples: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, columns, generator=generator, dtype=torch.float64)


def scores(result: DCIScores) -> list[float]:
    return [float(score) for score in result[:3]]


def rotation(degrees: float) -> Tensor:
    """Turns the first two of three axes."""
    turn = math.radians(degrees)
    matrix = torch.eye(3, dtype=torch.float64)
    matrix[:2, :2] = torch.tensor(
        [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]], dtype=torch.float64
    )
    return matrix


@pytest.mark.parametrize("case", ["dup_gaussian_D1", "noisy0p9_grid_D5", "monotone_gaussian_D3"])
def test_reference_form_matches_disentanglement_lib(case: str) -> None:
    golden = load(case)
    expected = golden.score("dlib_dci")
    found = dci(golden.z, golden.labels, n_train=golden.n_train, reference=True)
    if expected["disentanglement"] is not None:  # the reference's is undefined for one factor
        assert float(found.disentanglement) == pytest.approx(expected["disentanglement"], abs=5e-3)
    assert float(found.completeness) == pytest.approx(expected["completeness"], abs=5e-3)
    assert float(found.informativeness) == pytest.approx(expected["informativeness_test"], abs=5e-3)


@pytest.mark.parametrize(
    "case", ["permsign_gaussian_D2", "permsign_grid_D3", "permsign_laplace_D5"]
)
def test_few_samples_score_as_the_population(case: str) -> None:
    golden = load(case)
    expected = golden.population_values["dci_in_the_limit"]
    assert scores(dci(golden.z, golden.factors))[:2] == pytest.approx([expected] * 2, abs=0.04)


def test_orders_codes_where_the_reference_does_not() -> None:
    """A noisy code on the right axes beats a rotated one; the classifiers' form says 0.14, 0.41."""
    noisy, rotated = load("noisy0p9_uniform_D3"), load("rot45_uniform_D3")
    on_axes = dci(noisy.z, noisy.factors)
    off_axes = dci(rotated.z, rotated.factors)
    assert float(on_axes.disentanglement) > 0.8
    assert 0.5 < float(off_axes.disentanglement) < 0.65
    assert float(off_axes.informativeness) > 0.98 > float(on_axes.informativeness)


@pytest.mark.parametrize("case", ["permsign_gaussian_D2", "extra2_grid_D3", "const_uniform_D3"])
def test_perfect_code_scores_one(case: str) -> None:
    golden = load(case)
    result = dci(golden.z, golden.factors)
    assert scores(result) == pytest.approx([1, 1, 1], abs=0.02)
    top = result.importance.max(0)
    assert len(set(top.indices.tolist())) == len(top.indices)


@settings(max_examples=10, derandomize=True)
@given(seed=SEEDS, samples=st.sampled_from([60, 200, 600]))
def test_noise_scores_zero(seed: int, samples: int) -> None:
    noise = draw(samples, 3, seed)
    assert scores(dci(noise, draw(samples, 2, seed + 1), seed=seed)) == [0, 0, 0]


@settings(max_examples=5)
@given(seed=SEEDS, order=st.permutations(range(3)))
def test_order_of_latents_does_not_matter(seed: int, order: list[int]) -> None:
    factors = draw(400, 3, seed)
    z = factors @ rotation(20)
    found, moved = dci(z, factors), dci(z[:, order], factors)
    torch.testing.assert_close(moved.importance, found.importance[order])
    assert scores(moved) == pytest.approx(scores(found), abs=1e-9)


@settings(max_examples=5)
@given(seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_only_the_order_within_latents_matters(seed: int, scale: float) -> None:
    factors = draw(400, 2, seed)
    z = factors + 0.2 * draw(400, 2, seed + 1)
    mapped = torch.stack([scale * z[:, 0].exp(), z[:, 1] ** 3], 1)
    assert scores(dci(mapped, factors)) == pytest.approx(scores(dci(z, factors)), abs=1e-9)


def test_units_of_factors_do_not_matter() -> None:
    factors = draw(400, 2, 0)
    z = factors + 0.2 * draw(400, 2, 1)
    changed = factors * torch.tensor([1e-5, 1e5]) + torch.tensor([3.0, -40.0])
    assert scores(dci(z, changed)) == pytest.approx(scores(dci(z, factors)), abs=1e-6)


def test_same_seed_same_numbers() -> None:
    factors = draw(300, 2, 0)
    z = factors + 0.3 * draw(300, 2, 1)
    first, again, other = dci(z, factors, seed=4), dci(z, factors, seed=4), dci(z, factors, seed=5)
    assert torch.equal(first.importance, again.importance)
    assert not torch.equal(first.importance, other.importance)


def test_takes_low_precision_and_arrays() -> None:
    factors = draw(300, 2, 0)
    exact = dci(factors, factors)
    for z in (factors.float(), factors.bfloat16(), np.asarray(factors)):
        result = dci(z, factors)
        assert result.importance.dtype == torch.float64
        assert scores(result) == pytest.approx(scores(exact), abs=0.02)


def test_constant_latents_and_factors_score_zero() -> None:
    factors = draw(300, 2, 0)
    assert scores(dci(torch.full((300, 3), 0.1), factors)) == [0, 0, 0]
    assert scores(dci(factors, torch.full((300, 3), 0.1))) == [0, 0, 0]
    half = dci(factors, torch.cat([factors[:, :1], torch.ones(300, 1)], 1))
    assert float(half.informativeness) == pytest.approx(0.5, abs=0.01)


def test_one_factor_and_one_latent() -> None:
    factors = draw(300, 2, 0)
    one_factor = dci(factors, factors[:, 0])
    assert float(one_factor.disentanglement) == 1
    one_latent = dci(factors[:, 0], factors)
    assert float(one_latent.completeness) == 1
    assert float(one_latent.informativeness) == pytest.approx(0.5, abs=0.01)


def test_duplicate_factors_lower_disentanglement() -> None:
    factors = draw(300, 2, 0)
    result = dci(factors, factors[:, [0, 0, 1]])
    assert float(result.completeness) > 0.99
    one_of_two = 1 - math.log(2) / math.log(3)
    expected = 2 / 3 * one_of_two + 1 / 3
    assert float(result.disentanglement) == pytest.approx(expected, abs=0.01)


def test_few_samples_have_a_value() -> None:
    factors = draw(4, 2, 0)
    assert scores(dci(factors, factors)) == [0, 0, 0]


def test_of_many_rows_a_subset_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dci.__globals__, "_LARGEST_SAMPLE", 500)
    factors = draw(2000, 2, 0)
    z = factors + 0.3 * draw(2000, 2, 1)
    rows = torch.randperm(2000, generator=torch.Generator().manual_seed(3))[:500]
    expected = dci(z[rows], factors[rows], seed=3)
    assert scores(dci(z, factors, seed=3)) == pytest.approx(scores(expected), abs=1e-2)


def test_says_what_is_wrong() -> None:
    factors = draw(9, 2, 0)
    with pytest.raises(ValueError, match="at least 2 samples each, got 9 to fit on of 9"):
        dci(factors, factors, n_train=9)
    labels = torch.zeros(9, 2)
    labels[4, 1] = 0.5
    with pytest.raises(ValueError, match=r"integer labels, got 0.5 at row 4, column 1"):
        dci(factors, labels, reference=True)
    with pytest.raises(ValueError, match="factors must be finite, got nan at row 4, column 1"):
        dci(factors, labels.masked_fill(labels == 0.5, math.nan))
