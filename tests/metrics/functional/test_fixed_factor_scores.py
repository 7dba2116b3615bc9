"""BetaVAE and FactorVAE scores against the stored ones, their laws and their edge cases."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.metrics.functional.fixed_factor_scores import (
    active_variances,
    beta_vae_accuracy,
    beta_vae_features,
    beta_vae_score,
    beta_vae_score_from_codes,
    factor_vae_accuracy,
    factor_vae_score,
    factor_vae_score_from_codes,
    factor_vae_votes,
)
from tests.metrics.golden import CASES, load

SEEDS = st.integers(0, 10_000)
MADE = (beta_vae_score, factor_vae_score)
FOUND = (beta_vae_score_from_codes, factor_vae_score_from_codes)


def draw(samples: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, columns, generator=generator, dtype=torch.float64)


def draw_three(count: int, generator: torch.Generator) -> Tensor:
    return torch.rand(count, 3, generator=generator, dtype=torch.float64)


def turn(codes: Tensor, degrees: float) -> Tensor:
    """Rotates the first two latents."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    first, second = codes[:, 0], codes[:, 1]
    return torch.stack([c * first - s * second, s * first + c * second, *codes.T[2:]], dim=1)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("standardize", [False, True])
def test_classifier_on_stored_features(case: str, standardize: bool) -> None:
    golden = load(case)
    name = "beta_vae_on_stored_features" + ("_standardised" if standardize else "")
    expected = golden.score(name, "eval_accuracy")
    train, test = (golden.arrays[f"beta_x_{part}"] for part in ("train", "eval"))
    labels = [torch.from_numpy(golden.arrays[f"beta_y_{part}"]) for part in ("train", "eval")]
    found = beta_vae_accuracy(train, labels[0], test, labels[1], standardize=standardize)
    assert float(found) == expected
    fitted = beta_vae_accuracy(train, labels[0], train, labels[0], standardize=standardize)
    # Features that are not standardised leave the solver where it stops.
    assert float(fitted) == pytest.approx(golden.score(name, "train_accuracy"), abs=5e-3)


@pytest.mark.parametrize("case", CASES)
def test_majority_on_stored_votes(case: str) -> None:
    golden = load(case)
    train, test = (
        torch.from_numpy(golden.matrix(f"factor_vae_votes_{part}_DxK")).long()
        for part in ("train", "eval")
    )
    expected = golden.score("factor_vae_on_stored_votes", "eval_accuracy")
    assert float(factor_vae_accuracy(train, test)) == pytest.approx(expected, abs=1e-9)
    expected = golden.score("factor_vae_on_stored_votes", "train_accuracy")
    assert float(factor_vae_accuracy(train, train)) == pytest.approx(expected, abs=1e-9)
    active = active_variances(golden.z) > 0
    assert active.int().tolist() == golden.score("factor_vae_active_dims")


@pytest.mark.parametrize(
    ("case", "tolerance"),
    [
        ("permsign_grid_D3", 0.0),
        ("rot30_uniform_D3", 0.02),
        ("rot45_uniform_D3", 0.06),
        ("noise_uniform_D3", 0.06),
        ("noisy0p9_grid_D5", 0.02),
    ],
)
def test_stored_codes_score_as_samplers_do(case: str, tolerance: float) -> None:
    """The finite form of 1,200 samples against the reference with fresh samples."""
    golden = load(case)
    for name, score in zip(("dlib_beta_vae", "dlib_factor_vae"), FOUND, strict=True):
        expected = golden.score(name, "eval_accuracy", "mean")
        assert float(score(golden.z, golden.factors)) == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("score", MADE)
@pytest.mark.parametrize(("degrees", "expected"), [(0, 1.0), (30, 1.0), (45, 2 / 3)])
def test_rotation_is_seen_at_45_degrees_only(
    score: Callable[..., Tensor], degrees: float, expected: float
) -> None:
    found = score(lambda f: turn(f, degrees), draw_three, train_points=2000, test_points=2000)
    assert float(found) == pytest.approx(expected, abs=0.04)


def test_features_are_mean_distances() -> None:
    z1 = torch.tensor([[[1.0, 2.0], [3.0, -4.0]]])
    expected = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    torch.testing.assert_close(beta_vae_features(z1, torch.zeros_like(z1)), expected)
    torch.testing.assert_close(beta_vae_features(z1[0], torch.zeros(2, 2)), expected[0])


def test_votes_go_to_the_stillest_latent() -> None:
    """Of two batches, latent 0 is stiller in the first relative to its variance, 1 in the other."""
    z = torch.tensor([[[0.0, 0.0], [1.0, 1.0]], [[0.0, 0.0], [10.0, 0.1]]])
    votes = factor_vae_votes(z, torch.tensor([1, 0]), torch.tensor([100.0, 1.0]), 3)
    assert votes.tolist() == [[0, 1], [1, 0], [0, 0]]
    votes = factor_vae_votes(z, torch.tensor([1, 0]), torch.tensor([0.0, 1.0]), 3)
    assert votes.tolist() == [[0, 1], [0, 1], [0, 0]]


def test_interventions_fix_one_factor() -> None:
    """Encoders that see what they are given: pairs share one factor, batches share one value."""
    seen: list[Tensor] = []

    def encode(factors: Tensor) -> Tensor:
        seen.append(factors)
        return factors

    beta_vae_score(encode, draw_three, train_points=50, test_points=50, batch=8)
    first, second = (seen[i].view(50, 8, 3) for i in (0, 1))
    assert ((first == second).all(1).sum(1) == 1).all()
    assert first[:, :, 0].unique().numel() == 400
    seen.clear()
    factor_vae_score(encode, draw_three, train_points=50, test_points=50, batch=8)
    batches = seen[1].view(50, 8, 3)
    assert ((batches == batches[:, :1]).all(1).sum(1) == 1).all()


@settings(max_examples=5)
@given(seed=SEEDS, order=st.permutations(range(3)))
def test_order_sign_and_scale_of_latents_do_not_matter(seed: int, order: list[int]) -> None:
    factors = draw(600, 3, seed)
    z = turn(factors, 40) + 0.2 * draw(600, 3, seed + 1)
    changed = (z * torch.tensor([1e-4, -1.0, 1e4]))[:, order]
    for score, few in zip(FOUND, (0.02, 0.0), strict=True):
        expected = float(score(z, factors, seed=seed))
        assert float(score(changed, factors, seed=seed)) == pytest.approx(expected, abs=few)


@settings(max_examples=5, derandomize=True)
@given(seed=SEEDS)
def test_noise_scores_chance(seed: int) -> None:
    for score in FOUND:
        found = score(draw(3000, 4, seed), draw(3000, 3, seed + 1), seed=seed)
        assert float(found) == pytest.approx(1 / 3, abs=0.1)


def test_reference_depends_on_scale() -> None:
    """Features of tiny codes drown in the classifier's penalty unless they are standardised."""
    found, reference = (
        beta_vae_score(
            lambda f: 1e-4 * f, draw_three, train_points=1000, test_points=1000, reference=form
        )
        for form in (False, True)
    )
    assert float(found) == 1
    assert float(reference) < 0.8


def test_same_seed_same_numbers() -> None:
    factors = draw(600, 2, 0)
    z = turn(factors, 44)
    for score in FOUND:
        assert score(z, factors, seed=3) == score(z, factors, seed=3)
    first, again, other = (
        factor_vae_score(
            lambda f: turn(f, 45), draw_three, train_points=200, test_points=200, seed=seed
        )
        for seed in (1, 1, 2)
    )
    assert first == again != other


def test_constant_latents() -> None:
    factors = draw(600, 3, 0)
    constant = torch.full((600, 2), 0.1)
    assert float(beta_vae_score_from_codes(constant, factors)) == pytest.approx(1 / 3, abs=0.1)
    assert float(factor_vae_score_from_codes(constant, factors)) == 0
    unused = torch.cat([factors, constant], dim=1)
    for score in FOUND:
        assert float(score(unused, factors)) == pytest.approx(1, abs=0.01)


def test_one_factor_is_always_named() -> None:
    factors = draw(600, 1, 0)
    for score in FOUND:
        assert float(score(draw(600, 2, 1), factors)) == 1


def test_equal_factors_cannot_be_told_apart() -> None:
    factors = draw(1200, 2, 0)[:, [0, 0, 1]]
    for score in FOUND:
        assert float(score(factors, factors)) == pytest.approx(2 / 3, abs=0.1)


def test_few_samples_take_few_bins() -> None:
    factors = draw(12, 2, 0)
    for score in FOUND:
        assert 0 <= float(score(factors, factors)) <= 1


def test_lonely_classes_pair_with_themselves() -> None:
    labels = torch.cat([torch.zeros(100), torch.arange(1, 9)]).repeat(2, 1).T.clone()
    for score in FOUND:
        assert 0 <= float(score(draw(108, 2, 0), labels)) <= 1


def test_relative_threshold() -> None:
    z = draw(100, 2, 0) * torch.tensor([1.0, 0.01])
    assert (active_variances(z) > 0).tolist() == [True, True]
    assert (active_variances(z, threshold=0.05) > 0).tolist() == [True, False]
    assert (active_variances(1e-6 * z, threshold=0.05) > 0).tolist() == [True, False]


def test_low_precision() -> None:
    factors = draw(600, 2, 0)
    for score in FOUND:
        found = score(factors.bfloat16(), factors.float())
        assert found.dtype == torch.float64
        assert float(found) == pytest.approx(1, abs=0.01)


def test_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match=r"one shape, got \(3, 2\) and \(4, 2\)"):
        beta_vae_features(torch.zeros(3, 2), torch.zeros(4, 2))
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(ValueError, match="features and labels must be as many, got 4 and 3"):
        beta_vae_accuracy(torch.zeros(4, 2), labels, torch.zeros(3, 2), labels)
    with pytest.raises(ValueError, match=r"batch of at least 2, latents\), got \(5, 1, 2\)"):
        factor_vae_votes(torch.zeros(5, 1, 2), torch.zeros(5).long(), torch.ones(2), 2)
    with pytest.raises(ValueError, match="must have a row a sample, got 1 for 10000"):
        factor_vae_score(lambda f: f[:1], draw_three)
    with pytest.raises(ValueError, match=r"encode\(factors\) must be finite, got nan"):
        factor_vae_score(lambda f: f * math.nan, draw_three)
    with pytest.raises(ValueError, match="z must have at least 12 samples, got 11"):
        beta_vae_score_from_codes(torch.zeros(11, 2), torch.zeros(11, 2))
