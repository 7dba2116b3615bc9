"""Boltzmann priors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import Tensor, nn
from torch.distributions import Normal

from cryo_disentangle.priors import Boltzmann, StandardNormal
from cryo_disentangle.simulation.energies import DoubleWell, boltzmann_density
from cryo_disentangle.types import Inference, ParticleBatch

Make = Callable[..., ParticleBatch]
_GRID = torch.linspace(-25, 25, 50_001, dtype=torch.float64)


def _random(seed: int, dim: int = 1, reference_kelvin: float = 300.0) -> Boltzmann:
    prior = Boltzmann(dim, reference_kelvin)
    generator = torch.Generator().manual_seed(seed)
    nn.init.normal_(next(prior.parameters()), std=0.05, generator=generator)
    return prior


def _at(kelvin: float, count: int) -> ParticleBatch:
    return {
        "images": torch.zeros(count, 1, 1),
        "index": torch.arange(count),
        "temperature": torch.full((count,), kelvin),
    }


def _grid_log_prob(prior: Boltzmann, kelvin: float) -> Tensor:
    return prior.log_prob(_GRID[:, None], _at(kelvin, len(_GRID))).detach()


@pytest.mark.parametrize("kelvin", [1, 4, 77, 277, 300, 350, 1000])
@pytest.mark.parametrize("reference_kelvin", [100, 300])
def test_density_integrates_to_one(kelvin: float, reference_kelvin: float) -> None:
    for seed in range(3):
        prior = _random(seed, reference_kelvin=reference_kelvin).double()
        density = _grid_log_prob(prior, kelvin).exp()
        assert float(torch.trapezoid(density, _GRID)) == pytest.approx(1, abs=1e-6)


def test_single_precision_is_enough() -> None:
    for kelvin in (77.0, 300.0, 1000.0):
        density = _grid_log_prob(_random(0), kelvin).exp()
        assert float(torch.trapezoid(density, _GRID)) == pytest.approx(1, abs=1e-4)


@settings(max_examples=15)
@given(st.integers(0, 99), st.floats(-3, 3), st.floats(-5, 2), st.sampled_from([80, 300, 900]))
def test_divergence_is_the_integral(
    seed: int, mean: float, log_variance: float, kelvin: float
) -> None:
    prior = _random(seed).double()
    mu, nu = torch.tensor([[[mean]], [[log_variance]]], dtype=torch.float64)
    found = float(prior.kl(Inference(mu, nu), _at(kelvin, 1)).detach())
    posterior = Normal(mu[0, 0], torch.exp(0.5 * nu[0, 0])).log_prob(_GRID)
    integrand = posterior.exp() * (posterior - _grid_log_prob(prior, kelvin))
    assert found == pytest.approx(float(torch.trapezoid(integrand, _GRID)), rel=1e-6, abs=1e-6)


def test_starts_at_the_standard_normal(particles: Make) -> None:
    inference = Inference(torch.randn(10, 3), torch.randn(10, 3))
    batch = particles(10, temperature=torch.full((10,), 280.0))
    kl = Boltzmann(3, reference_kelvin=280).kl(inference, batch)
    torch.testing.assert_close(kl, StandardNormal().kl(inference, batch), rtol=1e-4, atol=1e-4)
    cold = Boltzmann(1, 300).sample(_at(75, 4000), 1, torch.Generator().manual_seed(0))
    assert float(cold.std()) == pytest.approx(0.5, abs=0.02)


def test_one_energy_is_shared_by_all_temperatures() -> None:
    prior = _random(3).double()
    energies = [
        -8.31446261815324e-3 * kelvin * _grid_log_prob(prior, kelvin) for kelvin in (250, 350)
    ]
    difference = energies[0] - energies[1]
    torch.testing.assert_close(difference, difference[:1].expand_as(difference))
    stated = prior.energy(_GRID[:, None])[:, 0].detach()
    torch.testing.assert_close(stated - stated[0], energies[0] - energies[0][0])


def test_samples_follow_the_density(particles: Make) -> None:
    kelvin = torch.tensor([200.0, 400.0]).repeat(4000)
    prior = _random(1, dim=2)
    draw = prior.sample(particles(8000, temperature=kelvin), 2, torch.Generator().manual_seed(0))
    for level in (200.0, 400.0):
        for coordinate in range(2):
            single = Boltzmann(1).double()
            weights = next(prior.parameters()).detach()[coordinate : coordinate + 1]
            next(single.parameters()).data.copy_(weights)
            density = _grid_log_prob(single, level).exp()
            cumulative = torch.cumulative_trapezoid(density, _GRID)
            points = draw[kelvin == level, coordinate].double()
            uniform = cumulative[torch.searchsorted(_GRID[1:], points)]
            assert kstest(uniform.numpy(), "uniform").pvalue > 0.01


def test_learns_wells_from_samples_at_one_temperature_that_hold_at_another() -> None:
    well = DoubleWell(barrier=6.0, position=1.2)
    density = boltzmann_density(well, 300, _GRID)
    generator = torch.Generator().manual_seed(0)
    draw = _GRID[torch.multinomial(density, 20_000, replacement=True, generator=generator), None]
    prior = Boltzmann(1)
    optimizer = torch.optim.Adam(prior.parameters(), lr=2e-3)
    for _ in range(150):
        optimizer.zero_grad()
        (-prior.log_prob(draw.float(), _at(300, len(draw))).mean()).backward()
        optimizer.step()
    found = _grid_log_prob(prior, 350).exp()
    distance = 0.5 * torch.trapezoid((found - boltzmann_density(well, 350, _GRID)).abs(), _GRID)
    assert float(distance) < 0.05


def test_gradients_are_finite_and_reach_every_parameter(particles: Make) -> None:
    prior = _random(0, dim=3)
    mean = torch.randn(50, 3).mul(2).requires_grad_()
    batch = particles((25, 2), temperature=torch.full((25, 2), 300.0))
    inference = Inference(mean.reshape(25, 2, 3), torch.randn(25, 2, 3))
    kl = prior.kl(inference, batch)
    assert kl.shape == (25, 2)
    kl.sum().backward()
    for tensor in (mean, *prior.parameters()):
        assert tensor.grad is not None
        assert bool((tensor.grad.isfinite() & (tensor.grad != 0)).all())


def test_refuses_bad_input(particles: Make) -> None:
    prior = Boltzmann(2)
    inference = Inference(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="Boltzmann needs the temperature of each particle"):
        prior.kl(inference, particles(3))
    with pytest.raises(ValueError, match=r"from 1 K to 1,000 K, found 0\.3"):
        prior.kl(inference, particles(3, temperature=torch.full((3,), 0.3)))
    with pytest.raises(ValueError, match="conformation_dim 2, found conformations with 3"):
        prior.log_prob(torch.zeros(3, 3), particles(3, temperature=torch.full((3,), 300.0)))
    with pytest.raises(ValueError, match="kernels >= 2 and half_width > 0, found 2, 1 and 4"):
        Boltzmann(2, kernels=1)
    with pytest.raises(ValueError, match="from 1 K to 1,000 K, found 0"):
        Boltzmann(2, reference_kelvin=0)
