"""The encoder of statistics."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.encoders.statistics import coefficient_posterior


def _statistics(count: int, rank: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    slices = torch.randn(count, rank + 1, rank, generator=generator, dtype=torch.float64)
    return torch.randn(count, rank, generator=generator, dtype=torch.float64), slices.mT @ slices


@settings(max_examples=25)
@given(st.integers(1, 8), st.integers(0, 1000))
def test_coefficients_have_their_posterior(rank: int, seed: int) -> None:
    information, precision = _statistics(3, rank, seed)
    mean, factor = coefficient_posterior(information, precision)
    covariance = torch.linalg.inv(precision + torch.eye(rank, dtype=torch.float64))
    torch.testing.assert_close(factor @ factor.mT, covariance)
    torch.testing.assert_close(factor, factor.tril())
    torch.testing.assert_close(mean, (covariance @ information[..., None])[..., 0])


def test_the_first_training_batch_standardises_what_is_read() -> None:
    encoder = StatisticsEncoder(3, 2, width=8, layers=1).eval()
    information, precision = (part.float() for part in _statistics(500, 3))
    encoder(information, precision)
    assert not encoder.scale.any()
    encoder.train()(information, precision)
    read = []
    encoder.network.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    encoder.eval()(information, precision)
    torch.testing.assert_close(read[0].mean(0), torch.zeros(9), atol=1e-4, rtol=0)
    torch.testing.assert_close(read[0].std(0), torch.ones(9), atol=1e-2, rtol=0)
    before = encoder.shift.clone()
    encoder.train()(2 * information, precision)
    assert torch.equal(encoder.shift, before)


def test_a_particle_far_from_all_others_has_a_finite_posterior() -> None:
    """Else a single one makes the first step of a training infinite."""
    encoder = StatisticsEncoder(3, 2, width=32, layers=2).train()
    information, precision = (part.float() for part in _statistics(500, 3))
    information[7] *= 1e5
    encoder(information[:7], precision[:7])
    found = encoder(information, precision)
    assert float(found.log_variance.detach().max()) < 12
    assert float(found.mean.detach().abs().max()) < 50
    ordinary = encoder(information[8:9], precision[8:9])
    torch.testing.assert_close(ordinary.mean, found.mean[8:9])


def test_posteriors_have_a_full_covariance() -> None:
    encoder = StatisticsEncoder(3, 2, width=8, layers=1)
    information, precision = (part.float() for part in _statistics(50, 3))
    found = encoder(information, precision)
    assert found.scale_tril is not None
    assert (found.scale_tril.diagonal(dim1=1, dim2=2) > 0).all()
    assert (found.scale_tril[:, 1, 0] != 0).all()
    assert (found.scale_tril[:, 0, 1] == 0).all()
    variance = found.covariance.diagonal(dim1=1, dim2=2)
    torch.testing.assert_close(found.log_variance.exp(), variance)


def test_statistics_of_another_rank_are_refused() -> None:
    with pytest.raises(ValueError, match="reads statistics of 3 coefficients, found 4"):
        StatisticsEncoder(3, 2)(torch.zeros(5, 4), torch.zeros(5, 4, 4))


def test_autocast_changes_nothing() -> None:
    encoder = StatisticsEncoder(3, 2, width=8, layers=1)
    information, precision = (part.float() for part in _statistics(50, 3))
    plain = encoder(information, precision)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = encoder(information, precision)
    assert torch.equal(plain.mean, cast.mean)
