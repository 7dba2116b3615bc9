"""Normal priors whose moments depend on the temperature."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import nn
from torch.distributions import Normal, kl_divergence

from cryo_disentangle.priors import ArrheniusLaw, LevelTable, StandardNormal, TemperatureNormal
from cryo_disentangle.types import Inference, ParticleBatch

Make = Callable[..., ParticleBatch]
_LEVELS = [277.15, 300.0, 320.0]
_KELVIN = torch.tensor(_LEVELS).repeat(20)


def _randomised(law: nn.Module) -> nn.Module:
    for number, parameter in enumerate(law.parameters()):
        nn.init.normal_(parameter, std=0.03, generator=torch.Generator().manual_seed(number))
    return law


@pytest.fixture(params=["table", "arrhenius"])
def prior(request: pytest.FixtureRequest) -> TemperatureNormal:
    if request.param == "table":
        law = LevelTable(3, _LEVELS)
        _randomised(law)
        return TemperatureNormal(law)
    smooth = ArrheniusLaw(3, _LEVELS[0], _LEVELS[-1])
    _randomised(smooth)
    return TemperatureNormal(smooth)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.sampled_from([torch.float32, torch.float64]))
def test_divergence_is_that_of_torch(seed: int, dtype: torch.dtype) -> None:
    law = LevelTable(3, _LEVELS)
    _randomised(law)
    mean, log_variance = torch.randn(
        2, 60, 3, generator=torch.Generator().manual_seed(seed), dtype=dtype
    )
    batch: ParticleBatch = {
        "images": torch.zeros(60, 1, 1),
        "index": torch.arange(60),
        "temperature": _KELVIN,
    }
    kl = TemperatureNormal(law).kl(Inference(mean, log_variance), batch)
    moments = law(_KELVIN)
    expected = kl_divergence(
        Normal(mean, torch.exp(0.5 * log_variance)),
        Normal(moments.mean.to(dtype), moments.log_scale.exp().to(dtype)),
    ).sum(-1)
    torch.testing.assert_close(kl, expected, rtol=1e-4, atol=1e-5)
    assert kl.dtype == dtype


def test_density_integrates_and_samples_follow_it(
    prior: TemperatureNormal, particles: Make
) -> None:
    for level in _LEVELS:
        batch = particles(4000, temperature=torch.full((4000,), level))
        draw = prior.sample(batch, 3, torch.Generator().manual_seed(0)).detach()
        moments = prior.law.forward(torch.tensor(level))
        reduced = (draw - moments.mean) * torch.exp(-moments.log_scale)
        assert kstest(reduced.detach().flatten().numpy(), "norm").pvalue > 0.01
        expected = Normal(moments.mean, moments.log_scale.exp()).log_prob(draw).sum(-1)
        torch.testing.assert_close(prior.log_prob(draw, batch), expected)


def test_pairs_are_particles(prior: TemperatureNormal, particles: Make) -> None:
    inference = Inference(torch.randn(60, 3), torch.randn(60, 3))
    single = prior.kl(inference, particles(60, temperature=_KELVIN))
    pairs = particles((30, 2), temperature=_KELVIN.reshape(30, 2))
    torch.testing.assert_close(prior.kl(inference.reshape(30, 2), pairs), single.reshape(30, 2))
    assert prior.sample(pairs, 3).shape == (30, 2, 3)


def test_gradients_are_finite_and_reach_every_parameter(
    prior: TemperatureNormal, particles: Make
) -> None:
    mean = torch.randn(60, 3).requires_grad_()
    batch = particles(60, temperature=_KELVIN)
    prior.kl(Inference(mean, torch.randn(60, 3)), batch).sum().backward()
    for tensor in (mean, *prior.parameters()):
        assert tensor.grad is not None
        assert bool((tensor.grad.isfinite() & (tensor.grad != 0)).all())


def test_table_starts_at_the_standard_normal_and_keeps_its_unit(particles: Make) -> None:
    inference = Inference(torch.randn(60, 2), torch.randn(60, 2))
    batch = particles(60, temperature=_KELVIN)
    law = LevelTable(2, _LEVELS)
    torch.testing.assert_close(
        TemperatureNormal(law).kl(inference, batch), StandardNormal().kl(inference, batch)
    )
    _randomised(law)
    moments = law(torch.tensor(_LEVELS))
    torch.testing.assert_close(moments.mean.mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    torch.testing.assert_close(moments.log_scale.mean(0), torch.zeros(2), atol=1e-6, rtol=0)


def test_table_learns_the_moments_of_data_fast(particles: Make) -> None:
    kelvin = torch.tensor(_LEVELS).repeat(1000)
    scale = torch.tensor([[0.3, 1.0], [0.9, 1.0], [3.7, 1.0]])
    scale = scale / scale.log().mean(0).exp()
    noise = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    law = LevelTable(2, _LEVELS)
    optimizer = torch.optim.Adam(law.parameters(), lr=1e-3)
    batch = particles(3000, temperature=kelvin)
    for _ in range(300):
        optimizer.zero_grad()
        (-TemperatureNormal(law).log_prob(scale.repeat(1000, 1) * noise, batch).mean()).backward()
        optimizer.step()
    found = law(torch.tensor(_LEVELS)).log_scale.exp().detach()
    torch.testing.assert_close(found, scale, rtol=0.1, atol=0)


def test_step_is_a_multiple_of_the_learning_rate() -> None:
    temperature = torch.tensor(_LEVELS)
    moved = []
    for scale in (1.0, 20.0):
        law = LevelTable(1, _LEVELS, learning_rate_scale=scale)
        optimizer = torch.optim.Adam(law.parameters(), lr=1e-3)
        (law(temperature).log_scale[:, 0] * torch.tensor([1.0, 0.0, -1.0])).sum().backward()
        optimizer.step()
        moved.append(law(temperature).log_scale[0, 0].item())
    assert moved == pytest.approx([-1e-3, -2e-2], rel=1e-3)


@settings(max_examples=20)
@given(st.integers(0, 2**31))
def test_arrhenius_law_is_monotone_with_the_energy_it_states(seed: int) -> None:
    law = ArrheniusLaw(2, 270, 320).double()
    nn.init.normal_(next(law.parameters()), std=0.1, generator=torch.Generator().manual_seed(seed))
    kelvin = torch.linspace(200, 400, 50, dtype=torch.float64)
    log_scale = law(kelvin).log_scale
    slopes = log_scale.diff(dim=0)
    assert bool((slopes * law.activation_energy >= 0).all())
    inverse = 1 / (8.31446261815324e-3 * kelvin)
    found = -2 * (log_scale[-1] - log_scale[0]) / (inverse[-1] - inverse[0])
    torch.testing.assert_close(found, law.activation_energy)
    middle = torch.tensor(2 / (1 / 270 + 1 / 320), dtype=torch.float64)
    torch.testing.assert_close(law(middle).log_scale, torch.zeros(2).double(), atol=1e-12, rtol=0)


def test_arrhenius_law_starts_nearly_neutral_but_not_alike() -> None:
    log_scale = ArrheniusLaw(4, 270, 320)(torch.tensor([270.0, 320.0])).log_scale
    assert float(log_scale.detach().abs().max()) <= 0.0501
    assert len(log_scale[1].unique()) == 4


def test_refuses_temperatures_that_it_cannot_use(prior: TemperatureNormal, particles: Make) -> None:
    inference = Inference(torch.zeros(2, 3), torch.zeros(2, 3))
    with pytest.raises(ValueError, match="TemperatureNormal needs the temperature of each"):
        prior.kl(inference, particles(2))
    for wrong in (0.5, -20.0, 1500.0, float("nan")):
        batch = particles(2, temperature=torch.tensor([300.0, wrong]))
        with pytest.raises(ValueError, match=f"from 1 K to 1,000 K, found {wrong:g}"):
            prior.kl(inference, batch)
    with pytest.raises(ValueError, match="conformation_dim 3, found conformations with 2"):
        prior.sample(particles(2, temperature=torch.full((2,), 300.0)), 2)


def test_table_refuses_unknown_temperatures(particles: Make) -> None:
    batch = particles(2, temperature=torch.tensor([300.0, 290.0]))
    inference = Inference(torch.zeros(2, 1), torch.zeros(2, 1))
    with pytest.raises(ValueError, match=r"\[277.15, 300.0, 320.0\] K, found 290 K"):
        TemperatureNormal(LevelTable(1, _LEVELS)).kl(inference, batch)


def test_laws_refuse_wrong_arguments() -> None:
    with pytest.raises(ValueError, match=r"at least two temperatures, found \[300\]"):
        LevelTable(2, [300])
    with pytest.raises(ValueError, match="from 1 K to 1,000 K, found -4"):
        LevelTable(2, [-4, 20])
    with pytest.raises(ValueError, match="conformation_dim must be at least 1, found 0"):
        LevelTable(0, _LEVELS)
    with pytest.raises(ValueError, match="coldest_kelvin < hottest_kelvin, found 300 and 280"):
        ArrheniusLaw(2, 300, 280)
