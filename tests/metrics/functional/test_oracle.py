"""Oracles against numerical integration and exact posteriors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.oracle import (
    fit_factor_mixture,
    oracle_scores,
    posterior_means,
    posterior_means_linearised,
    posterior_means_of_draws,
    posterior_means_of_samples,
)

_KIND = {"dtype": torch.float64}


def _statistics(
    coefficients: Tensor, seed: int = 0, strength: float = 1.0
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    count, rank = coefficients.shape
    slices = strength * torch.randn(count, 2 * rank, rank, generator=generator, **_KIND)  # type: ignore[call-overload]
    noise = torch.randn(count, 2 * rank, 1, generator=generator, **_KIND)  # type: ignore[call-overload]
    seen = slices @ coefficients[..., None] + noise
    return (slices.mT @ seen)[..., 0], slices.mT @ slices


def _normal(count: int, width: int, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, **_KIND)  # type: ignore[call-overload]


def test_the_mixture_is_found() -> None:
    factors = 2 + 3 * _normal(4000, 2)
    x, y = ((factors - 2) / 3).unbind(1)
    coefficients = torch.stack([x, y + 0.3 * x**2, x * y - 0.2 * y**3], 1)
    mixture = fit_factor_mixture(factors, *_statistics(coefficients, strength=3.0))
    inside = ((factors - 2) / 3).norm(dim=1) < 1.5
    error = (mixture(factors) - coefficients)[inside]
    assert float(error.abs().max()) < 0.1


@pytest.mark.parametrize("width", [1, 2, 4])
def test_posterior_means_of_linear_normal_factors_are_exact(width: int) -> None:
    """Samples of the prior for few factors, importance draws for more."""
    weight = _normal(5, width, seed=3)
    prior = _normal(60_000, width, seed=4)
    mixture = fit_factor_mixture(prior[:5000], *_statistics(prior[:5000] @ weight.T), degree=1)
    mixture = mixture._replace(
        weights=torch.cat([0 * weight[:, :1], weight.flip(1) * mixture.spread.flip(0)], 1),
        centre=0 * mixture.centre,
    )
    factors = _normal(100, width, seed=5)
    information, precision = _statistics(factors @ weight.T, seed=6, strength=0.5)
    inner = weight.T @ precision @ weight + torch.eye(width, **_KIND)  # type: ignore[call-overload]
    expected = torch.linalg.solve(inner, (information @ weight)[..., None])[..., 0]
    found = posterior_means(mixture, prior, information, precision)
    assert float((found - expected).square().mean().sqrt()) < 0.06


def test_posterior_means_of_a_curved_mixture_are_the_integrals() -> None:
    factors = _normal(5000, 1)
    coefficients = torch.cat([factors, factors**2], 1)
    information, precision = _statistics(coefficients, strength=0.7)
    mixture = fit_factor_mixture(factors, information, precision, degree=2)
    axis = torch.linspace(-6, 6, 4001, **_KIND)[:, None]  # type: ignore[call-overload]
    mixed = mixture(axis)
    quadratic = torch.einsum("gi,nij,gj->ng", mixed, precision[:50], mixed)
    log = information[:50] @ mixed.T - 0.5 * quadratic - 0.5 * axis[:, 0].square()
    expected = log.softmax(1) @ axis
    found = posterior_means(mixture, factors, information[:50], precision[:50])
    # In the tails of the prior few samples lie.
    assert float((found - expected).square().mean().sqrt()) < 0.05


class _Turning:
    """Two coefficients that go round a circle with one factor."""

    spread = torch.ones(1, dtype=torch.float64)

    def __call__(self, factors: Tensor) -> Tensor:
        return torch.cat([torch.cos(1.5 * factors), torch.sin(1.5 * factors)], -1)


@pytest.mark.parametrize("strength", [2.0, 20.0])
def test_draws_find_the_posterior_from_afar(strength: float) -> None:
    """Undamped steps of Gauss and Newton leap to the other side."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.rand(300, 1, generator=generator, dtype=torch.float64) * 2 - 1
    precision = strength * torch.eye(2, dtype=torch.float64).expand(300, 2, 2)
    noise = torch.randn(300, 2, generator=generator, dtype=torch.float64) * strength**0.5
    information = strength * _Turning()(factors) + noise
    prior = torch.rand(4000, 1, generator=generator, dtype=torch.float64) * 2 - 1
    start = torch.zeros_like(factors)
    found = posterior_means_of_draws(
        _Turning(), prior, (information, precision), start, 512, generator
    )
    expected, _ = posterior_means_of_samples(prior, _Turning()(prior), information, precision)
    assert float((found - expected).square().mean().sqrt()) < 0.1 * float(
        (expected - factors).square().mean().sqrt()
    )


def test_the_linearised_posterior_is_exact_for_linear_images() -> None:
    factors = _normal(3000, 2)
    slopes = _normal(3000 * 6, 2, seed=2).view(3000, 6, 2)
    noise = 0.5 * _normal(3000, 6, seed=3)
    found = posterior_means_linearised(slopes, noise, 0.25, factors)
    images = (slopes @ factors[..., None])[..., 0] + noise
    inner = slopes.mT @ slopes / 0.25 + torch.eye(2, **_KIND)  # type: ignore[call-overload]
    expected = torch.linalg.solve(inner, (slopes.mT @ images[..., None]) / 0.25)[..., 0]
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)


def test_shares_are_of_the_oracle() -> None:
    factors = _normal(600, 2)
    oracle = factors + 0.3 * _normal(600, 2, seed=2)
    z = (oracle + 0.3 * _normal(600, 2, seed=3)).flip(1)
    found = oracle_scores(z, oracle, factors)
    assert 0.8 < float(found["mcc_share"]) < 1
    assert found["mcc"] < found["mcc_oracle"]
    torch.testing.assert_close(found["r2_share"], found["r2"] / found["r2_oracle"])


def test_what_cannot_be_fitted_is_refused() -> None:
    factors = _normal(30, 2)
    information, precision = _statistics(_normal(30, 3))
    with pytest.raises(ValueError, match="have 21 terms and need 42 particles, found 30"):
        fit_factor_mixture(factors, information, precision)
    with pytest.raises(ValueError, match="factors must vary"):
        fit_factor_mixture(0 * factors, information, precision, degree=1)
    with pytest.raises(ValueError, match=r"of the same particles are needed, found \(30, 2\)"):
        fit_factor_mixture(factors, information[:20], precision[:20])
