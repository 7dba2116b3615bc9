"""Divergences of posteriors whose coordinates depend on each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from cryo_disentangle.priors import (
    ArrheniusLaw,
    Boltzmann,
    GeneralizedNormal,
    LaplaceTransition,
    StandardNormal,
    TemperatureNormal,
)
from cryo_disentangle.types import Inference, ParticleBatch

Make = Callable[..., ParticleBatch]


def _full(*leading: int) -> Inference:
    generator = torch.Generator().manual_seed(2)
    kind = {"generator": generator, "dtype": torch.float64}
    mean = torch.randn(*leading, 2, **kind)  # type: ignore[call-overload]
    scale = 0.4 * torch.randn(*leading, 2, 2, **kind).tril()  # type: ignore[call-overload]
    scale.diagonal(dim1=-2, dim2=-1).abs_().add_(0.2)
    return Inference.of_scale(mean, scale)


@pytest.mark.parametrize(
    "prior",
    [
        StandardNormal(),
        GeneralizedNormal(4),
        TemperatureNormal(ArrheniusLaw(2, 200, 400)),
        Boltzmann(2),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_divergence_is_the_mean_log_ratio(prior: nn.Module, particles: Make) -> None:
    prior = prior.double()
    full = _full(3)
    kelvin = torch.tensor([200.0, 300.0, 400.0])
    many = full.map(lambda part: part.repeat_interleave(100_000, 0))
    drawn = many.sample(torch.Generator().manual_seed(0))
    posterior = torch.distributions.MultivariateNormal(many.mean, scale_tril=many.scale_tril)
    log_prior = prior.log_prob(drawn, particles(300_000, kelvin.repeat_interleave(100_000)))  # type: ignore[operator]
    expected = (posterior.log_prob(drawn) - log_prior).unflatten(0, (3, -1)).mean(1)
    found = prior.kl(full, particles(3, kelvin))  # type: ignore[operator]
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_dependence_is_counted_once_in_each_frame(particles: Make) -> None:
    full = _full(5, 2)
    plain = full._replace(scale_tril=None)
    extra = full.total_correlation
    forward = LaplaceTransition(rate=4, gamma=3, symmetric=False)
    gained = forward.kl(full, particles((5, 2))) - forward.kl(plain, particles((5, 2)))
    torch.testing.assert_close(gained, extra * torch.tensor([1.0, 3.0]).double())
    both = LaplaceTransition(rate=4, gamma=3)
    gained = both.kl(full, particles((5, 2))) - both.kl(plain, particles((5, 2)))
    torch.testing.assert_close(gained, 2.0 * extra)
