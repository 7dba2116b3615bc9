"""The model of statistics: exact bounds, exact laws, and every part of the contract."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from scipy.stats import ks_2samp
from torch import Tensor, nn

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.losses import (
    DIPVAE,
    EstimatedNoise,
    FactorVAE,
    PoseIntervention,
    PosteriorDistance,
    TotalCorrelation,
    UniformPoses,
)
from cryo_disentangle.metrics import (
    PoseConformationMetrics,
    PoseLeak,
    RedrawnNoise,
    RotationTest,
)
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.priors import (
    ArrheniusLaw,
    Boltzmann,
    LaplaceTransition,
    StandardNormal,
    TemperatureNormal,
)
from cryo_disentangle.protocols import ConformationPrior, Penalty
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.statistics.synthetic import BOX_SIZE, statistics_of

_RANK = 3


def make_batch(coefficients: Tensor, seed: int = 0) -> ParticleBatch:
    statistics = statistics_of(coefficients, seed)
    return StatisticsDataset(statistics, ParticleLabels()).__getitems__(range(len(coefficients)))


def make_model(dim: int = 2, hidden: int = 0, **parts: object) -> StatisticsModel:
    torch.manual_seed(0)
    decoder = BasisDecoder(BOX_SIZE, dim, _RANK, hidden=hidden, layers=1)
    return StatisticsModel(decoder, dim, **parts)  # type: ignore[arg-type]


def coefficients(count: int, seed: int = 0) -> Tensor:
    return torch.randn(count, _RANK, generator=torch.Generator().manual_seed(seed))


class _Exact(nn.Module):
    """The exact posterior of a linear mixture: precision 1 + Wᵀ Λ W."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, information: Tensor, precision: Tensor) -> Inference:
        inner = self.weight.mT @ precision @ self.weight + torch.eye(self.weight.shape[1])
        covariance = torch.linalg.inv(inner)
        mean = covariance @ (self.weight.mT @ information[..., None])
        return Inference.of_scale(mean[..., 0], torch.linalg.cholesky(covariance))


def test_the_bound_is_the_marginal_likelihood_under_the_exact_posterior() -> None:
    """By numerical integration over z in the plane."""
    batch = make_batch(coefficients(20))
    model = make_model()
    weight = cast(nn.Linear, model.decoder.mixture).weight.detach()
    model.encoder = _Exact(weight)
    axis = torch.linspace(-7, 7, 281)
    grid = torch.cartesian_prod(axis, axis)
    mixed = grid @ weight.T
    log_density = -0.5 * torch.einsum("gi,nij,gj->ng", mixed, batch["precision"], mixed)
    log_density = log_density + batch["information"] @ mixed.T - 0.5 * grid.square().sum(1)
    step = float(axis[1] - axis[0])
    area = torch.tensor(step**2 / (2 * torch.pi)).log()
    expected = -(log_density.logsumexp(1) + area).mean()
    many = {key: value.repeat_interleave(4000, 0) for key, value in batch.items()}  # type: ignore[attr-defined]
    found = model.loss_terms(cast(ParticleBatch, many), step=0, sample=False)["loss"]
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)


def test_a_batch_goes_through_the_contract() -> None:
    model = make_model()
    assert isinstance(model, LatentImageModel)
    batch = make_batch(coefficients(6))
    found = model.infer(batch)
    pose = Pose(batch["rotation"], None, batch["precision"])
    assert model.generate(found.mean, pose, batch).shape == (6, _RANK)
    assert model.volume(torch.zeros(2)).shape == (BOX_SIZE,) * 3


def test_generated_statistics_have_the_law_of_statistics_simulated_there() -> None:
    """Means and covariances, and each coordinate by a two-sample test."""
    count = 4000
    model = make_model()
    weight = cast(nn.Linear, model.decoder.mixture).weight.detach()
    z = torch.randn(count, 2, generator=torch.Generator().manual_seed(5))
    # Particle i with the slices that particle j = i + 1 is seen through: imaged anew, or generated.
    simulated = make_batch((z @ weight.T).roll(1, 0), seed=7)
    elsewhere = make_batch(coefficients(count, 1), seed=7)
    assert torch.equal(simulated["precision"], elsewhere["precision"])
    pose = Pose(elsewhere["rotation"], None, elsewhere["precision"])
    generated = model.generate(z.roll(1, 0), pose, elsewhere)
    for k in range(_RANK):
        assert ks_2samp(simulated["information"][:, k], generated.detach()[:, k]).pvalue > 1e-3
    covariances = [torch.cov(b.detach().T) for b in (simulated["information"], generated)]
    torch.testing.assert_close(covariances[0], covariances[1], atol=0.0, rtol=0.35)


def test_noise_has_the_covariance_of_the_precision() -> None:
    model = make_model()
    one = make_batch(coefficients(1))
    precision = one["precision"].expand(100_000, -1, -1)
    pose = Pose(one["rotation"].expand(100_000, -1, -1), None, precision)
    z = torch.tensor([0.3, -0.8]).expand(100_000, -1)
    drawn = model.train().generate(z, pose, one).detach()
    expected = (one["precision"][0] @ model.decoder.mixture(z[:1])[0]).detach()
    torch.testing.assert_close(drawn.mean(0), expected, atol=0.1, rtol=0.02)
    torch.testing.assert_close(torch.cov(drawn.T), one["precision"][0], atol=0.2, rtol=0.02)


def test_draws_of_penalties_and_metrics_are_their_own() -> None:
    """The same in every pass over held-out batches, and torch's generator stays as it was."""
    penalty = PoseIntervention(1.0, distance=PosteriorDistance())
    model = make_model(hidden=8, penalties={"poses": penalty}).eval()
    batch = make_batch(coefficients(16))
    state = torch.random.get_rng_state()
    inference = model.infer(batch)
    first = penalty(model, batch, inference)
    assert not torch.equal(first, penalty(model, batch, inference)), "another held-out batch"
    penalty.train().draws.advance()
    assert torch.equal(first, penalty.eval()(model, batch, inference))
    scores = []
    for _ in range(2):
        metrics = PoseConformationMetrics(), RedrawnNoise(0.0)
        for metric in metrics:
            metric.update(model, batch)
        found = metrics[0].compute()["conformation_pose_invariance"]
        scores.append((float(found), float(metrics[1].compute()["noise_normalized"])))
    assert scores[0] == scores[1]
    assert scores[0][1] > 0.01, "the same noise twice"
    assert torch.equal(state, torch.random.get_rng_state())


_PENALTIES = {
    "poses": PoseIntervention(1.0, distance=PosteriorDistance(), sampled_conformations=True),
    "encoder": PoseIntervention(1.0, gradient="encoder", fraction=0.5),
    "decoder": PoseIntervention(1.0, gradient="decoder"),
    "tc": TotalCorrelation(1000),
    "dip": DIPVAE(variant="II"),
    "factor": FactorVAE(2, width=8, layers=1),
}


@pytest.mark.parametrize("name", _PENALTIES)
def test_penalties_teach_the_encoder(name: str) -> None:
    model = make_model(hidden=8, penalties={name: cast(Penalty, _PENALTIES[name])})
    terms = model.loss_terms(make_batch(coefficients(16)), step=0, sample=True)
    assert terms.keys() == {"loss", "reconstruction", "kl", name}
    terms[name].backward()
    slopes = [parameter.grad for parameter in model.decoder.mixture.parameters()]
    taught = model.encoder if name != "decoder" else model.decoder.mixture
    assert all(p.grad is not None and p.grad.isfinite().all() for p in taught.parameters())
    if name == "encoder":
        assert all(slope is None for slope in slopes)


@pytest.mark.parametrize(
    "prior",
    [
        StandardNormal(),
        TemperatureNormal(ArrheniusLaw(2, 200, 400)),
        Boltzmann(2),
        LaplaceTransition(learnable=True, conformation_dim=2),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_priors_take_full_posteriors(prior: nn.Module) -> None:
    model = make_model(hidden=8, prior=cast(ConformationPrior, prior))
    batch = make_batch(coefficients(16))
    batch["temperature"] = torch.full((16,), 300.0)
    pairs = {key: value.unflatten(0, (8, 2)) for key, value in batch.items()}  # type: ignore[attr-defined]
    terms = model.loss_terms(cast(ParticleBatch, pairs), step=0, sample=True)
    terms["loss"].backward()
    assert terms["kl"].isfinite()


def test_metrics_of_models_serve() -> None:
    model = make_model(hidden=8)
    metrics = PoseConformationMetrics(), RotationTest()
    leak = PoseLeak()
    for seed in range(3):
        batch = make_batch(coefficients(40, seed), seed)
        batch["index"] = batch["index"] + 40 * seed
        for metric in metrics:
            metric.update(model, batch)
        leak.update(model.infer(batch), batch)
    scores = metrics[0].compute()
    assert 0 <= float(scores["conformation_pose_invariance_normalized"]) <= 1.5
    assert "pose_encoder_consistency" in metrics[0].unavailable
    # Turned in its plane, a particle has the statistics that it had.
    assert float(metrics[1].compute()["rotation_icc_mean"]) == pytest.approx(1.0)
    assert torch.isfinite(leak.compute()["pose_leak_linear_r2"])


def test_what_does_not_go_with_statistics_is_refused() -> None:
    batch = make_batch(coefficients(6))
    noisy = make_model(penalties={"p": PoseIntervention(1.0, noise_std=0.5)})
    with pytest.raises(ValueError, match=r"noise_std must be 0, found 0.5"):
        noisy.loss_terms(batch, step=0, sample=True)
    estimated = make_model(penalties={"p": PoseIntervention(1.0, noise_std=EstimatedNoise())})
    with pytest.raises(ValueError, match="noise_std must be 0, found EstimatedNoise"):
        estimated.loss_terms(batch, step=0, sample=True)
    uniform = make_model(penalties={"p": PoseIntervention(1.0, poses=UniformPoses())})
    with pytest.raises(ValueError, match="UniformPoses generates poses"):
        uniform.loss_terms(batch, step=0, sample=True)
    with pytest.raises(ValueError, match="statistics are generated with the noise of the data"):
        PoseConformationMetrics(noise_std=1.0).update(make_model(), batch)
    images = ParticleBatch(images=torch.zeros(2, 17, 17), index=torch.arange(2))
    with pytest.raises(ValueError, match="reads statistics and the particles have none"):
        make_model().infer(images)
    with pytest.raises(ValueError, match="conformation_dim must be at least 1, found 0"):
        StatisticsModel(BasisDecoder(BOX_SIZE, 1, _RANK), 0)


def test_volumes_are_held() -> None:
    model = make_model(hidden=8)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    assert "decoder.coefficients" not in trained
    assert any(name.startswith("decoder.mixture") for name in trained)
