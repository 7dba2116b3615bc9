"""Findings on temperatures: harmonic wells hide mixtures, a frozen motion shows them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.priors import temperature_identifiability
from cryo_disentangle.priors.identifiability import identifiability_of_moments
from cryo_disentangle.priors.temperature_normal import NormalMoments

_TWO = [280.0, 310.0]
_FIVE = [277.0, 290.0, 300.0, 310.0, 320.0]


def _harmonic(levels: list[float], dim: int) -> list[list[float]]:
    return [[(1 + k) * math.sqrt(kelvin / 300) for k in range(dim)] for kelvin in levels]


def _arrhenius(levels: list[float], slopes: list[float]) -> list[list[float]]:
    return [[math.exp(slope * (kelvin - 300) / 20) for slope in slopes] for kelvin in levels]


_FROZEN = [[0.05, 0.95], [1.0, 1.0]]


def _particles(
    scales: list[list[float]], levels: list[float], count: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Latents that mix the factors by a random matrix, and their temperatures."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.tensor(scales)
    level = torch.randint(len(levels), (count,), generator=generator)
    factors = table[level] * torch.randn(count, table.shape[1], generator=generator)
    mixing = torch.randn(2 * (table.shape[1],), generator=generator)
    return factors @ mixing.T, torch.tensor(levels)[level]


@pytest.mark.parametrize("count", [2000, 20_000])
@pytest.mark.parametrize("levels", [_TWO, _FIVE, [100.0, 300.0]])
def test_harmonic_wells_are_flagged(count: int, levels: list[float]) -> None:
    for seed in range(3):
        latents, temperature = _particles(_harmonic(levels, 2), levels, count, seed)
        found = temperature_identifiability(latents, temperature)
        assert not found.identifiable
        assert found.alike == [(0, 1)]
        assert found.rank <= 1
        assert found.verdict.startswith("Not identifiable")
        assert "1 and 2" in found.verdict
        assert "freezes" in found.verdict


@pytest.mark.parametrize("count", [2000, 20_000])
def test_a_frozen_motion_identifies(count: int) -> None:
    for seed in range(3):
        found = temperature_identifiability(*_particles(_FROZEN, _TWO, count, seed))
        assert found.identifiable
        assert not found.alike
        assert (found.rank, found.required_rank) == (1, 2)
        assert found.condition_number == math.inf
        assert found.verdict.startswith("Identifiable if mixing is nearly linear")
        assert "at least 3 temperatures" in found.verdict
        true = 2 * math.log((1 / 0.05) / (1 / 0.95))
        assert float(found.separation[0, 1]) == pytest.approx(true, abs=0.4)
        assert float(found.separation[0, 1]) == pytest.approx(
            true, abs=4 * float(found.standard_error[0, 1])
        )


def test_enough_temperatures_exclude_curved_mixtures() -> None:
    scales = _arrhenius(_FIVE, [-0.5, 0.8])
    found = temperature_identifiability(*_particles(scales, _FIVE, 20_000))
    assert found.rank == found.required_rank == 2
    assert found.condition_number < 100
    assert "any smooth mixing" in found.verdict


def test_repeated_temperatures_tell_nothing_new() -> None:
    scales = [[0.1, 1.0], [0.1, 1.0], [1.0, 1.0], [1.0, 1.0]]
    found = temperature_identifiability(*_particles(scales, _FIVE[:4], 20_000))
    assert found.identifiable
    assert found.rank == 1
    assert "some temperatures add no information" in found.verdict


def test_only_the_pair_that_is_alike_is_named() -> None:
    scales = [[0.1, 0.1, 1.0], [1.0, 1.0, 1.0]]
    found = temperature_identifiability(*_particles(scales, _TWO, 20_000))
    assert len(found.alike) == 1
    (first, second) = found.alike[0]
    assert not bool(found.distinct[first, second])
    assert int(found.distinct.sum()) == 4


@settings(max_examples=10)
@given(st.integers(0, 999))
def test_axes_are_the_factors_whatever_mixes_them(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    latents, temperature = _particles(_FROZEN, _TWO, 4000, seed)
    # A random mixing may be singular to what single precision tells, and is refused then.
    assume(float(torch.linalg.cond(latents)) < 100)
    mixing = torch.linalg.qr(torch.randn(2, 2, generator=generator)).Q @ torch.diag(
        torch.tensor([1.0, 7.0])
    )
    found = temperature_identifiability(latents, temperature)
    again = temperature_identifiability(latents @ mixing.T + 3, temperature)
    torch.testing.assert_close(again.separation, found.separation, rtol=1e-3, atol=1e-3)
    product = again.axes @ mixing.double() @ torch.linalg.inv(found.axes)
    torch.testing.assert_close(product.abs().amax(1), torch.ones(2).double(), rtol=0.02, atol=0)


def test_a_mean_that_moves_counts_as_a_parameter() -> None:
    latents, temperature = _particles(_FROZEN, _TWO, 20_000)
    shifted = latents + (temperature[:, None] == _TWO[0]) * torch.tensor([0.0, 2.0])
    assert temperature_identifiability(shifted, temperature).required_rank > 2


def test_one_coordinate_has_nothing_to_mix_with() -> None:
    found = temperature_identifiability(*_particles([[1.0], [1.0]], _TWO, 2000))
    assert found.identifiable
    assert "single coordinate" in found.verdict


def test_moments_of_a_prior_are_judged_without_sampling_error() -> None:
    def judge(scales: list[list[float]], levels: list[float]) -> tuple[bool, int]:
        log_scale = torch.tensor(scales).log()
        moments = NormalMoments(torch.zeros_like(log_scale), log_scale)
        found = identifiability_of_moments(moments, torch.tensor(levels))
        return found.identifiable, found.rank

    assert judge(_harmonic(_FIVE, 3), _FIVE) == (False, 1)
    assert judge(_FROZEN, _TWO) == (True, 1)
    assert judge(_arrhenius(_FIVE, [-0.5, 0.8]), _FIVE) == (True, 2)


def test_refuses_bad_input() -> None:
    latents, temperature = _particles(_FROZEN, _TWO, 500)
    with pytest.raises(ValueError, match=r"\(N, Z\) and temperatures \(N,\) are needed, found"):
        temperature_identifiability(latents, temperature[:-1])
    with pytest.raises(ValueError, match=r"two temperatures are needed, found \[300\.0\]"):
        temperature_identifiability(latents, torch.full((500,), 300.0))
    with pytest.raises(ValueError, match="in kelvin, from 1 K to 1,000 K, found -4"):
        temperature_identifiability(latents, temperature - 284)
    few = temperature.index_fill(0, torch.arange(2), 250)
    with pytest.raises(ValueError, match=r"at least 50 particles .* found 2 at 250 K"):
        temperature_identifiability(latents, few)
    with pytest.raises(ValueError, match="not finite"):
        temperature_identifiability(latents / 0, temperature)
    with pytest.raises(ValueError, match=r"coordinates \[1\] .* do not vary"):
        temperature_identifiability(latents * torch.tensor([1.0, 0.0]), temperature)
    with pytest.raises(ValueError, match="linear functions of each other"):
        temperature_identifiability(latents[:, [0, 0]], temperature)
    moments = NormalMoments(torch.zeros(1, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match=r"\(T, Z\) at two or more temperatures"):
        identifiability_of_moments(moments, torch.tensor([300.0]))
