"""How much of z is the noise of images."""

from __future__ import annotations

from typing import cast

import pytest
import torch

from cryo_disentangle.metrics import RedrawnNoise
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.types import Inference, ParticleBatch
from tests.metrics.linear_model import DIM, NOISE, LinearModel, make_batches


class Overfitted(LinearModel):
    """An encoder that takes the noise for particles: what it tells of its own width is tiny."""

    def infer(self, batch: ParticleBatch) -> Inference:
        found = super().infer(batch)
        rest = batch["images"].flatten(1)[:, : 8 * DIM].unflatten(1, (8, DIM)).sum(1)
        return Inference(found.mean + rest, torch.full_like(found.mean, -8.0))


def score(model: LinearModel, spread: float, truth: TrueGenerator | None = None) -> float:
    metric = RedrawnNoise(NOISE, truth)
    for batch, z in make_batches(2000, spread):
        with_factors = cast("ParticleBatch", {**batch, "factors": z})
        metric.update(model, with_factors if truth else batch)
    return float(metric.compute()["noise_normalized"])


@pytest.mark.parametrize("spread", [0.0, 0.5, 2.0])
def test_the_share_of_noise_is_that_of_least_squares(spread: float) -> None:
    # What is rendered has the noise of the first inference in its z.
    assert score(LinearModel(), spread) == pytest.approx(1 / (spread**2 + 2), abs=0.03)


def test_with_the_true_molecule_nothing_but_the_noise_of_images_counts() -> None:
    truth = TrueGenerator(LinearModel().generate)
    assert score(LinearModel(), 1.0, truth) == pytest.approx(0.5, abs=0.03)
    assert score(LinearModel(), 0.0, truth) == pytest.approx(1, abs=0.05)


def test_an_over_fitted_encoder_is_not_believed() -> None:
    assert score(Overfitted(), 1.0) > 0.4


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="noise_std must not be negative"):
        RedrawnNoise(-0.5)
    batch, _ = next(make_batches(4, 1.0))
    with pytest.raises(ValueError, match="beside a true generator a batch needs factors"):
        RedrawnNoise(NOISE, TrueGenerator(LinearModel().generate)).update(LinearModel(), batch)
