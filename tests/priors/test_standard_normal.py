"""The standard normal prior."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch.distributions import Normal, kl_divergence

from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.priors.standard_normal import kl_standard_normal
from cryo_disentangle.types import Inference, ParticleBatch

_posteriors = st.lists(st.tuples(st.floats(-20, 20), st.floats(-15, 8)), min_size=1, max_size=6)


@settings(max_examples=25)
@given(_posteriors)
def test_divergence_is_that_of_torch_and_never_negative(
    posterior: list[tuple[float, float]],
) -> None:
    mean, log_variance = torch.tensor(posterior, dtype=torch.float64).unbind(-1)
    ours = kl_standard_normal(mean, log_variance)
    standard = Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), standard).sum()
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)
    assert float(ours) >= 0


@settings(max_examples=25)
@given(st.floats(-1e-3, 1e-3), st.floats(-1e-3, 1e-3))
def test_is_not_negative_near_the_prior_in_single_precision(
    mean: float, log_variance: float
) -> None:
    kl = kl_standard_normal(torch.tensor([mean]), torch.tensor([log_variance]))
    assert float(kl) >= 0


def test_is_zero_at_the_prior_and_per_particle() -> None:
    mean = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 2.0]])
    inference = Inference(mean, torch.zeros(3, 2))
    batch: ParticleBatch = {"images": torch.zeros(3, 5, 5), "index": torch.arange(3)}
    kl = StandardNormal().kl(inference, batch)
    assert kl.tolist() == [0.0, 0.5, 2.5]


def test_density_and_samples_are_standard_normal() -> None:
    batch: ParticleBatch = {"images": torch.zeros(0), "index": torch.arange(6000).reshape(-1, 2)}
    draw = StandardNormal().sample(batch, 2, torch.Generator().manual_seed(0))
    assert draw.shape == (3000, 2, 2)
    assert kstest(draw.flatten().numpy(), "norm").pvalue > 0.01
    expected = Normal(0, 1).log_prob(draw).sum(-1)
    torch.testing.assert_close(StandardNormal().log_prob(draw, batch), expected)
