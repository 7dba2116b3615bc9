"""Whether z says anything of its particle, by what decoding it explains."""

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.encoders.statistics import coefficient_posterior
from cryo_disentangle.metrics import DecodingTest
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.metrics.linear_model import DIM, NOISE, LinearModel, make_batches
from tests.statistics.synthetic import statistics_of


def score(model: LinearModel, spread: float, **options: bool) -> dict[str, float]:
    metric = DecodingTest(NOISE, **options)
    for batch, _ in make_batches(1500, spread):
        metric.update(model, batch)
    return {name: float(value) for name, value in metric.compute().items()}


@pytest.mark.parametrize("shrinkage", [1.0, 0.5])
def test_honest_latents_explain_their_images(shrinkage: float) -> None:
    found = score(LinearModel(shrinkage), spread=1.0)
    assert found["decoding_p_value"] == pytest.approx(0.001)
    assert found["decoding_particles"] == 1500
    # |x - z'P|² - |x - zP|² is 2 s x·z of each coordinate, of which the noise has 2 s σ².
    error = 62 + 2 * (1 - shrinkage) ** 2 * 2
    assert found["decoding_gain"] == pytest.approx(2 * shrinkage * DIM / error, rel=0.15)
    assert found["decoding_penalty"] == pytest.approx(2 * shrinkage * DIM / error, rel=0.15)


@pytest.mark.parametrize("fitted", [False, True])
def test_latents_fitted_to_noise_alone_explain_nothing(fitted: bool) -> None:
    stored = torch.cat([batch["images"].flatten(1) for batch, _ in make_batches(1500, 0.0)])
    model = LinearModel()
    if fitted:
        model.stored = stored @ model.patterns.T
    found = score(model, spread=0.0, fitted=fitted)
    assert found["decoding_p_value"] > 0.05
    assert abs(found["decoding_gain"]) < 0.01


def test_random_latents_explain_nothing() -> None:
    drawn = torch.randn(1500, DIM, generator=torch.Generator().manual_seed(5))
    found = score(LinearModel(stored=drawn), spread=1.0, fitted=True)
    assert found["decoding_p_value"] > 0.05
    assert found["decoding_gain"] < 0


def test_one_particle_is_left_out_and_bad_input_refused() -> None:
    metric = DecodingTest(NOISE)
    batch, _ = next(make_batches(1, 1.0))
    metric.update(LinearModel(), batch)
    with pytest.raises(ValueError, match="has nothing to score"):
        metric.compute()
    with pytest.raises(ValueError, match="must not be negative and permutations at least 1"):
        DecodingTest(-1.0)
    batch, _ = next(make_batches(4, 1.0))
    del batch["rotation"]
    with pytest.raises(ValueError, match="have no poses and the model infers none"):
        DecodingTest(NOISE).update(LinearModel(), batch)


class _Subspace(torch.nn.Module):
    """The exact posterior of coefficients, from statistics."""

    def infer(self, batch: ParticleBatch) -> Inference:
        mean, factor = coefficient_posterior(batch["information"], batch["precision"])
        return Inference.of_scale(mean, factor)

    def coefficients(self, conformation: torch.Tensor) -> torch.Tensor:
        return conformation

    def generate(
        self, conformation: torch.Tensor, pose: Pose, batch: ParticleBatch
    ) -> torch.Tensor:
        del batch
        assert pose.precision is not None
        root = torch.linalg.cholesky(pose.precision)
        mean = pose.precision @ conformation[..., None]
        return (mean + root @ torch.randn_like(mean))[..., 0]


@pytest.mark.parametrize("spread", [1.0, 0.0])
def test_statistics_tell_what_posteriors_know(spread: float) -> None:
    generator = torch.Generator().manual_seed(2)
    made = statistics_of(spread * torch.randn(1500, 2, generator=generator))
    batch = {name: getattr(made, name) for name in ("information", "precision", "index")}
    batch["rotation"] = made.rotation
    metric = DecodingTest(0.0)
    metric.update(_Subspace(), batch)  # type: ignore[arg-type]
    found = metric.compute()
    assert (found["decoding_p_value"] < 0.01) == bool(spread)
    if not spread:
        assert abs(found["decoding_gain"]) < 0.1 * found["decoding_penalty"]
    with pytest.raises(TypeError, match=r"a model with coefficients\(conformation\) expected"):
        metric.update(LinearModel(), batch)  # type: ignore[arg-type]
