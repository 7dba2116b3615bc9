"""BetaVAE and FactorVAE scores of interventions that the caller makes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from cryo_disentangle.metrics.fixed_factor_scores import (
    InterventionalBetaVAEScore,
    InterventionalFactorVAEScore,
)

PERFECT = torch.eye(3)[[1, 2, 0]]
FACTORS = 3


def pairs(mixing: Tensor, seed: int = 0, points: int = 300) -> tuple[Tensor, Tensor, Tensor]:
    """Latents of pairs that share one factor."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(FACTORS, (points,), generator=generator)
    first, second = torch.rand(2, points, 32, FACTORS, generator=generator)
    fixed = one_hot(index, FACTORS).bool()[:, None]
    return first @ mixing, torch.where(fixed, first, second) @ mixing, index


def batches(mixing: Tensor, seed: int = 0, points: int = 300) -> tuple[Tensor, Tensor]:
    """Latents of batches that share one factor."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(FACTORS, (points,), generator=generator)
    factors = torch.rand(points, 32, FACTORS, generator=generator)
    fixed = one_hot(index, FACTORS).bool()[:, None]
    return torch.where(fixed, factors[:, :1], factors) @ mixing, index


def beta_vae(mixing: Tensor) -> float:
    metric = InterventionalBetaVAEScore()
    metric.update(*pairs(mixing))
    return float(metric.compute())


def factor_vae(mixing: Tensor) -> float:
    metric = InterventionalFactorVAEScore()
    metric.update(*batches(mixing))
    return float(metric.compute())


@pytest.mark.parametrize("score", [beta_vae, factor_vae])
def test_perfect_codes_and_chance(score) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert score(PERFECT) == 1.0
    # The latents' common scale is free.
    assert score(1e-6 * PERFECT) == 1.0
    # A latent that follows all factors alike can't tell them apart.
    assert score(torch.ones(FACTORS, 1)) == pytest.approx(1 / FACTORS, abs=0.12)


def test_the_reference_form_knows_the_scale_of_features() -> None:
    z1, z2, index = pairs(1e-6 * PERFECT)
    metric = InterventionalBetaVAEScore(reference=True)
    metric.update(z1, z2, index)
    assert float(metric.compute()) < 0.6


def test_latents_without_votes() -> None:
    assert factor_vae(torch.zeros(FACTORS, 2)) == 0.0


def test_calls_and_their_order_are_nothing() -> None:
    z1, z2, index = pairs(torch.ones(FACTORS, 2) + PERFECT[:, :2])
    whole, parts = InterventionalBetaVAEScore(), InterventionalBetaVAEScore()
    whole.update(z1, z2, index)
    for rows in torch.arange(len(index)).flip(0).split(70):
        parts.update(z1[rows], z2[rows], index[rows])
    assert float(parts.compute()) == pytest.approx(float(whole.compute()), abs=1e-12)

    z, index = batches(torch.ones(FACTORS, 2) + PERFECT[:, :2])
    whole_votes, part_votes = InterventionalFactorVAEScore(), InterventionalFactorVAEScore()
    whole_votes.update(z, index)
    for rows in torch.arange(len(index)).flip(0).split(70):
        part_votes.update(z[rows], index[rows])
    assert torch.equal(part_votes.compute(), whole_votes.compute())


@pytest.mark.parametrize("kind", [InterventionalBetaVAEScore, InterventionalFactorVAEScore])
def test_nothing_to_score(
    kind: type[InterventionalBetaVAEScore | InterventionalFactorVAEScore],
) -> None:
    with (
        pytest.warns(UserWarning, match="was called before the ``update`` method"),
        pytest.raises(ValueError, match="VAEScore has nothing to score: call update first"),
    ):
        kind().compute()


def test_shapes_that_do_not_fit() -> None:
    beta, factor = InterventionalBetaVAEScore(), InterventionalFactorVAEScore()
    z, index = batches(PERFECT)
    with pytest.raises(ValueError, match=r"z must have shape \(interventions, .* got \(32, 3\)"):
        factor.update(z[0], index)
    with pytest.raises(ValueError, match=r"with 2 samples or more, got \(300, 1, 3\)"):
        factor.update(z[:, :1], index)
    with pytest.raises(ValueError, match=r"factor_index must be 300 integers .* of shape \(299,\)"):
        factor.update(z, index[1:])
    with pytest.raises(ValueError, match=r"factor_index must be 300 integers .* torch.float32"):
        factor.update(z, index.float())
    with pytest.raises(ValueError, match="factor_index must be 300 integers from 0 on"):
        factor.update(z, index - 1)
    with pytest.raises(ValueError, match=r"z1 must have shape .* got \(32, 3\)"):
        beta.update(z[0], z[0], index)
    with pytest.raises(ValueError, match="z1 and z2 must have one shape"):
        beta.update(z, z[:, 1:], index)
    factor.update(z, index)
    with pytest.raises(ValueError, match=r"z must have shape \(P, 32, 3\) as earlier .*31, 3\)"):
        factor.update(z[:, 1:], index)
