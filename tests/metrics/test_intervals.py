"""Intervals hold the truth as often as they say; the null is that of unrelated factors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryo_disentangle.metrics.intervals import bootstrap_interval, permutation_null


def correlation(z: Tensor, factors: Tensor) -> Tensor:
    """|Pearson correlation| of the first columns."""
    return torch.corrcoef(torch.stack([z[:, 0], factors[:, 0]]))[0, 1].abs()


def plug_in_information(z: Tensor, factors: Tensor) -> Tensor:
    """Mutual information of 10 x 10 equal-mass bins, biased as it comes."""
    count = len(z)
    a, b = (x[:, 0].argsort().argsort() * 10 // count for x in (z, factors))
    joint = torch.bincount(10 * a + b, minlength=100).double().reshape(10, 10) / count
    ratio = joint / (joint.sum(0) * joint.sum(1, keepdim=True))
    return torch.where(joint > 0, joint * ratio.clamp(min=1e-300).log(), 0.0).sum()


def noisy_codes(count: int, seed: int, signal: float = 0.8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z, noise = torch.randn(2, count, 1, generator=generator, dtype=torch.float64)
    return z, signal * z + (1 - signal**2) ** 0.5 * noise


@pytest.mark.parametrize("metric", [correlation, plug_in_information])
def test_interval_holds_what_the_score_is_on_average(metric) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    count, repeats = 300, 60
    truth = torch.stack([metric(*noisy_codes(count, 1000 + i)) for i in range(300)]).mean()
    held = 0
    for seed in range(repeats):
        found = bootstrap_interval(metric, *noisy_codes(count, seed), resamples=40, seed=seed)
        assert found.low < found.value < found.high
        held += int(found.low <= truth <= found.high)
    assert 0.85 <= held / repeats <= 1.0


def test_interval_narrows_as_the_root_of_the_count() -> None:
    few, many = (bootstrap_interval(correlation, *noisy_codes(n, 0)) for n in (400, 6400))
    assert float((few.high - few.low) / (many.high - many.low)) == pytest.approx(4.0, rel=0.4)


def test_interval_of_odd_counts_is_scaled() -> None:
    z, factors = noisy_codes(5, 0)
    found = bootstrap_interval(lambda a, _: a.mean(), z, factors, resamples=4000)
    # The ends are the pairs of smallest and largest mean: each is one of ten.
    ordered = z[:, 0].sort().values
    ends = ordered.unfold(0, 2, 1).mean(1)[[0, -1]] - z.mean()
    expected = z.mean() + (2 / 3) ** 0.5 * ends
    torch.testing.assert_close(torch.stack([found.low, found.high]), expected, rtol=0, atol=0.02)


def test_scores_of_any_shape_and_reproducible() -> None:
    z, factors = noisy_codes(100, 0)

    def both(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([correlation(a, b), plug_in_information(a, b)])

    found, again = (bootstrap_interval(both, z, factors, seed=3) for _ in range(2))
    assert found.low.shape == found.high.shape == found.value.shape == (2,)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    alone = bootstrap_interval(plug_in_information, z, factors, seed=3)
    assert torch.equal(found.low[1], alone.low)
    null = permutation_null(both, z, factors, seed=3)
    assert all(part.shape == (2,) for part in null)


def test_null_of_unrelated_factors() -> None:
    z, _ = noisy_codes(200, 0)
    p_values = []
    for seed in range(40):
        _, factors = noisy_codes(200, 100 + seed)
        null = permutation_null(plug_in_information, z, factors, permutations=39, seed=seed)
        assert null.low <= null.mean <= null.high
        p_values.append(float(null.p_value))
    assert min(p_values) >= 1 / 40
    assert 0.3 < sum(p_values) / len(p_values) < 0.7


def test_null_of_related_factors() -> None:
    z, factors = noisy_codes(200, 0)
    null = permutation_null(correlation, z, factors, permutations=19)
    assert float(null.p_value) == pytest.approx(1 / 20)
    assert float(null.high) < 0.4
    other_way = permutation_null(correlation, z, factors, permutations=19, higher_is_better=False)
    assert float(other_way.p_value) == 1.0


def test_bad_options() -> None:
    z, factors = noisy_codes(20, 0)
    with pytest.raises(ValueError, match="level must lie between 0 and 1, got 95"):
        bootstrap_interval(correlation, z, factors, level=95)
    with pytest.raises(ValueError, match="resamples must be at least 2, got 1"):
        bootstrap_interval(correlation, z, factors, resamples=1)
    with pytest.raises(ValueError, match="permutations must be at least 2, got 0"):
        permutation_null(correlation, z, factors, permutations=0)
    with pytest.raises(ValueError, match="z must have at least 4 samples, got 3"):
        bootstrap_interval(correlation, z[:3], factors[:3])
