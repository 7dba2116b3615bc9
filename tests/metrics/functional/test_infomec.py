"""InfoMEC against its reference, its laws and its edge cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.metrics.functional.infomec import InfoMECScores, infomec
from tests.metrics.golden import CASES, load

SEEDS = st.integers(0, 10_000)
UNIFORM = [case for case in CASES if "uniform" in case and not case.startswith("const")]


def draw(samples: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, columns, generator=generator, dtype=torch.float64)


def scores(result: InfoMECScores) -> list[float]:
    return [float(score) for score in result[:3]]


@pytest.mark.parametrize("case", CASES)
def test_reference_form_matches_the_published_code(case: str) -> None:
    """Classes of few samples leave the published numbers at chance's mercy: ties of distances."""
    golden = load(case)
    found = infomec(golden.z, golden.labels, reference=True)
    expected = golden.matrix("lq_ksg_nmi_DxK").T
    tolerance = 2e-5 if case in UNIFORM else 0.01 if "grid" not in case else 0.015
    if not case.startswith("const"):  # there the constant latent's dither has information
        np.testing.assert_allclose(found.information, expected, atol=tolerance)
    reference = golden.score("lq_infomec_20bin_factors")
    for key, score in zip(("infom", "infoe", "infoc"), found[:3], strict=True):
        if reference[key]["mean"] is not None:  # 0/0 in the published code
            near = 3e-5 if case in UNIFORM and key != "infoe" else 0.01
            assert float(score) == pytest.approx(reference[key]["mean"], abs=near)


@pytest.mark.parametrize("case", ["permsign_gaussian_D2", "extra2_grid_D3", "const_uniform_D3"])
def test_perfect_code_scores_one(case: str) -> None:
    golden = load(case)
    result = infomec(golden.z, golden.factors)
    assert scores(result) == pytest.approx([1, 1, 1], abs=1e-6)
    assert int(result.active.sum()) == golden.factors.shape[1]


def test_rotation_mixes_what_stays_explicit() -> None:
    golden = load("rot45_uniform_D3")
    result = infomec(golden.z, golden.factors)
    assert float(result.modularity) == pytest.approx(0.5, abs=0.03)
    assert float(result.compactness) == pytest.approx(0.5, abs=0.03)
    assert float(result.explicitness) == pytest.approx(1, abs=1e-6)


@settings(max_examples=10, derandomize=True)
@given(seed=SEEDS, samples=st.sampled_from([60, 300, 1500]))
def test_noise_scores_zero(seed: int, samples: int) -> None:
    result = infomec(draw(samples, 3, seed), draw(samples, 2, seed + 1), seed=seed)
    assert float(result.modularity) == float(result.compactness) == 0
    assert float(result.explicitness) < 0.25 * math.sqrt(60 / samples)
    assert not result.active.any()


@settings(max_examples=10)
@given(seed=SEEDS, order=st.permutations(range(3)), scale=st.floats(1e-6, 1e6))
def test_order_sign_and_scale_of_latents_do_not_matter(
    seed: int, order: list[int], scale: float
) -> None:
    factors = draw(500, 3, seed)
    z = factors + 0.3 * factors.roll(1, 1) + 0.1 * draw(500, 3, seed + 1)
    changed = (z * torch.tensor([scale, -1.0, 1.0]))[:, order]
    found, moved = infomec(z, factors, seed=seed), infomec(changed, factors, seed=seed)
    torch.testing.assert_close(moved.information, found.information[order], atol=1e-4, rtol=0)
    assert scores(moved) == pytest.approx(scores(found), abs=1e-4)


def test_same_seed_same_numbers() -> None:
    labels = (5 * draw(300, 2, 0)).floor()
    z = labels + (2 * draw(300, 2, 1)).floor()
    first, again, other = (infomec(z, labels, seed=seed) for seed in (4, 4, 5))
    assert torch.equal(first.information, again.information)
    assert not torch.equal(first.information, other.information)


def test_of_many_samples_a_subset_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    factors = draw(2000, 2, 0)
    z = factors + 0.1 * draw(2000, 2, 1)
    whole = infomec(z, factors)
    monkeypatch.setitem(infomec.__globals__, "_LARGEST_SAMPLE", 1000)
    part = infomec(z, factors)
    assert not torch.equal(part.information, whole.information)
    torch.testing.assert_close(part.information, whole.information, atol=0.05, rtol=0)


def test_constant_latents_and_factors() -> None:
    factors = draw(300, 2, 0)
    constant = torch.full((300, 2), 0.1)
    for reference in (False, True):
        labels = (3 * factors).floor() if reference else factors
        assert scores(infomec(constant, labels, reference=reference)) == pytest.approx([0, 0, 0])
        assert scores(infomec(factors, constant.round(), reference=reference)) == [0, 0, 0]
    half = infomec(factors, torch.cat([factors[:, :1], constant[:, :1]], 1))
    assert scores(half) == pytest.approx([1, 0.5, 0.5], abs=1e-6)


def test_one_factor_and_one_latent() -> None:
    factors = draw(300, 2, 0)
    assert scores(infomec(factors, factors[:, 0])) == pytest.approx([1, 1, 1], abs=1e-6)
    assert scores(infomec(factors[:, 0], factors)) == pytest.approx([1, 0.5, 0.5], abs=0.06)


def test_duplicates_cost_where_they_should() -> None:
    factors = draw(600, 2, 0)
    twice = infomec(factors[:, [0, 0, 1]], factors)
    assert scores(twice) == pytest.approx([1, 1, (0.25 + 1) / 2], abs=0.02)
    same = infomec(factors, factors[:, [0, 0, 1]])
    assert scores(same) == pytest.approx([(0.25 + 1) / 2, 1, 1], abs=0.02)


def test_few_samples_have_a_value() -> None:
    factors = draw(4, 2, 0)
    result = infomec(factors, factors)
    assert float(result.modularity) == float(result.compactness) == 0
    assert torch.isfinite(torch.stack(result[:3])).all()


def test_low_precision() -> None:
    factors = draw(400, 2, 0)
    result = infomec(factors.bfloat16(), factors.float())
    assert result.information.dtype == torch.float64
    assert scores(result) == pytest.approx([1, 1, 1], abs=0.01)


def test_says_what_is_wrong() -> None:
    factors = draw(9, 2, 0)
    with pytest.raises(ValueError, match="neighbors must be at least 1, got 0"):
        infomec(factors, factors, neighbors=0)
    with pytest.raises(ValueError, match="needs factors that are integer labels"):
        infomec(factors, factors, reference=True)
