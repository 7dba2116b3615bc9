"""Neighbourhood measures against their definitions, their laws and their edge cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.metrics.functional.neighbourhood import (
    information_imbalance,
    neighbourhood_similarity,
)

SEEDS = st.integers(0, 10_000)


def draw(samples: int, columns: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(samples, columns, generator=generator, dtype=torch.float64)


def order_of_neighbours(x: Tensor) -> list[list[int]]:
    """The others of each sample, nearest first."""
    distance = (x[:, None] - x).square().sum(-1)
    return [[j for j in row.argsort().tolist() if j != i] for i, row in enumerate(distance)]


@settings(max_examples=15)
@given(seed=SEEDS, samples=st.integers(5, 40), k=st.integers(1, 4))
def test_definitions(seed: int, samples: int, k: int) -> None:
    z, factors = draw(samples, 3, seed), draw(samples, 2, seed + 1)
    near_z, near_f = order_of_neighbours(z), order_of_neighbours(factors)
    shared = [len({*a[:k]} & {*b[:k]}) / k for a, b in zip(near_z, near_f, strict=True)]
    found = neighbourhood_similarity(z, factors, k=k)
    assert float(found) == pytest.approx(np.mean(shared), abs=1e-12)
    for a, b, imbalance in zip(
        (near_z, near_f), (near_f, near_z), information_imbalance(z, factors, k=k), strict=True
    ):
        ranks = [1 + there.index(j) for here, there in zip(a, b, strict=True) for j in here[:k]]
        assert float(imbalance) == pytest.approx(2 / samples * np.mean(ranks), abs=1e-12)


@settings(max_examples=10)
@given(seed=SEEDS, scale=st.floats(1e-6, 1e6))
def test_rotation_scale_and_order_of_samples_do_not_matter(seed: int, scale: float) -> None:
    factors = draw(100, 3, seed)
    turn = torch.linalg.qr(draw(3, 3, seed + 1)).Q
    z = scale * factors @ turn
    shuffled = torch.randperm(100, generator=torch.Generator().manual_seed(seed))
    assert float(neighbourhood_similarity(z[shuffled], factors[shuffled])) == pytest.approx(1)
    for imbalance in information_imbalance(z[shuffled], factors[shuffled]):
        assert float(imbalance) == pytest.approx(2 / 100)


@settings(max_examples=5, derandomize=True)
@given(seed=SEEDS)
def test_noise_scores_chance(seed: int) -> None:
    z, factors = draw(1000, 2, seed), draw(1000, 2, seed + 1)
    assert float(neighbourhood_similarity(z, factors)) == pytest.approx(20 / 999, abs=0.005)
    for imbalance in information_imbalance(z, factors):
        assert float(imbalance) == pytest.approx(1, abs=0.1)


def test_equal_distances_count_as_expected_of_random_choice() -> None:
    """Two factors of three classes: brute force over shuffled ties."""
    factors, z = (3 * draw(60, 2, 0)).floor(), (3 * draw(60, 1, 1)).floor()
    found = float(neighbourhood_similarity(z, factors, k=3))
    imbalance = [float(x) for x in information_imbalance(z, factors, k=3)]
    generator = torch.Generator().manual_seed(0)
    shares, ranks = [], []
    for _ in range(300):
        dithered = [
            x + 1e-6 * torch.rand(x.shape, generator=generator, dtype=torch.float64)
            for x in (z, factors)
        ]
        shares.append(float(neighbourhood_similarity(*dithered, k=3)))
        ranks.append([float(x) for x in information_imbalance(*dithered, k=3)])
    assert found == pytest.approx(np.mean(shares), abs=0.005)
    assert imbalance == pytest.approx(np.mean(ranks, axis=0).tolist(), abs=0.01)


def test_constant_latents_score_chance() -> None:
    factors, constant = draw(50, 2, 0), torch.zeros(50, 3)
    for other in (factors, constant):
        assert float(neighbourhood_similarity(constant, other, k=5)) == pytest.approx(5 / 49)
        for imbalance in information_imbalance(constant, other):
            assert float(imbalance) == pytest.approx(1)


def test_imbalance_tells_which_space_knows_more() -> None:
    factors = draw(500, 1, 0)
    z = torch.cat([factors, draw(500, 1, 1)], dim=1)
    more = information_imbalance(z, factors)
    fewer = information_imbalance(factors, z)
    assert float(more.latents_to_factors) < 0.1 < 0.3 < float(more.factors_to_latents)
    assert more == fewer[::-1]


def test_rows_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    z, factors = draw(101, 2, 0), draw(101, 2, 1)
    whole = neighbourhood_similarity(z, factors), *information_imbalance(z, factors)
    globals_of_room = neighbourhood_similarity.__globals__
    monkeypatch.setitem(globals_of_room, "_DISTANCES_AT_ONCE", 10 * 101)
    parts = neighbourhood_similarity(z, factors), *information_imbalance(z, factors)
    torch.testing.assert_close(parts, whole)


def test_of_many_samples_a_subset_is_measured() -> None:
    z, factors = draw(300, 2, 0), draw(300, 2, 1)
    rows = torch.randperm(300, generator=torch.Generator().manual_seed(7))[:50]
    found = neighbourhood_similarity(z, factors, k=5, max_samples=50, seed=7)
    torch.testing.assert_close(found, neighbourhood_similarity(z[rows], factors[rows], k=5))
    first = information_imbalance(z, factors, max_samples=50, seed=7)
    torch.testing.assert_close(first, information_imbalance(z[rows], factors[rows]))


def test_takes_low_precision_arrays_and_single_columns() -> None:
    factors = draw(200, 1, 0)
    for z in (factors[:, 0].numpy(), factors.float()):
        found = neighbourhood_similarity(z, factors[:, 0])
        assert found.dtype == torch.float64
        assert float(found) > 0.99


def test_says_what_is_wrong() -> None:
    z = draw(20, 2, 0)
    for k in (0, 20):
        message = f"k must be at least 1 and less than 20 samples, got {k}"
        with pytest.raises(ValueError, match=message):
            neighbourhood_similarity(z, z, k=k)
        with pytest.raises(ValueError, match=message):
            information_imbalance(z, z, k=k)
    with pytest.raises(ValueError, match="less than 10 samples, got 15"):
        neighbourhood_similarity(z, z, k=15, max_samples=10)
