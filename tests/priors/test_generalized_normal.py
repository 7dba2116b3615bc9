"""The generalised normal prior."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gennorm, kstest

from cryo_disentangle.priors import GeneralizedNormal, StandardNormal
from cryo_disentangle.types import Inference, ParticleBatch

BATCH: ParticleBatch = {"images": torch.zeros(0), "index": torch.arange(6000).reshape(-1, 2)}


def _exact(exponent: int) -> float:
    """The scale of variance 1, as scipy has it."""
    return float(1 / gennorm(exponent).std())


@pytest.mark.parametrize("exponent", [2, 4, 8, 16])
def test_density_and_samples_are_those_of_scipy(exponent: int) -> None:
    prior, known = GeneralizedNormal(exponent), gennorm(exponent, scale=_exact(exponent))
    draw = prior.sample(BATCH, 2, torch.Generator().manual_seed(0))
    assert draw.shape == (3000, 2, 2)
    assert kstest(draw.flatten().numpy(), known.cdf).pvalue > 0.01
    expected = torch.from_numpy(known.logpdf(draw.numpy())).sum(-1).float()
    torch.testing.assert_close(prior.log_prob(draw, BATCH), expected, rtol=1e-3, atol=1e-4)


@settings(max_examples=25)
@given(st.floats(-2.5, 2.5), st.floats(-6, 1), st.sampled_from([2, 4, 8, 16]))
def test_divergence_is_the_integral(mean: float, log_variance: float, exponent: int) -> None:
    deviation = math.exp(0.5 * log_variance)
    z = mean + deviation * torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    posterior = torch.distributions.Normal(mean, deviation)
    prior = GeneralizedNormal(exponent)
    gap = posterior.log_prob(z) - prior.log_prob(z[:, None], BATCH)
    expected = torch.trapezoid(posterior.log_prob(z).exp() * gap, z)
    one = torch.ones(1, 1, dtype=torch.float64)
    found = prior.kl(Inference(mean * one, log_variance * one), BATCH)
    torch.testing.assert_close(found, expected[None], rtol=1e-5, atol=1e-6)


def test_exponent_2_is_the_standard_normal_with_a_full_covariance_too() -> None:
    generator = torch.Generator().manual_seed(1)
    mean, factor = (torch.randn(shape, generator=generator) for shape in ((5, 3), (5, 3, 3)))
    factor = factor.tril(-1) + torch.diag_embed(factor.diagonal(dim1=1, dim2=2).exp())
    variance = (factor @ factor.mT).diagonal(dim1=1, dim2=2)
    inference = Inference(mean, variance.log(), scale_tril=factor)
    normal, ours = StandardNormal(), GeneralizedNormal(2)
    torch.testing.assert_close(ours.kl(inference, BATCH), normal.kl(inference, BATCH))
    torch.testing.assert_close(ours.log_prob(mean, BATCH), normal.log_prob(mean, BATCH))


def test_the_flat_prior_prefers_the_axes_of_independent_factors() -> None:
    uniform = (torch.rand(4000, 2, generator=torch.Generator().manual_seed(2)) - 0.5) * 12**0.5
    prior = GeneralizedNormal()
    scores = []
    for degrees in (0, 15, 30, 45):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        turned = uniform @ torch.tensor([[c, -s], [s, c]])
        scores.append(float(prior.log_prob(turned, BATCH).mean()))
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("exponent", [0, 3, 18, 2.5])
def test_other_exponents_are_refused(exponent: int) -> None:
    with pytest.raises(ValueError, match=f"even number from 2 to 16, found {exponent}"):
        GeneralizedNormal(exponent)
