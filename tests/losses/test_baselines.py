"""β-TCVAE, DIP-VAE, FactorVAE and Ada-GVAE against numbers formed another way."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from cryo_disentangle.losses import DIPVAE, FactorVAE, TotalCorrelation, ada_gvae_posterior
from cryo_disentangle.losses.dip_vae import dip_covariance
from cryo_disentangle.losses.factor_vae import permute_coordinates
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.total_correlation import total_correlation
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.losses.linear import LinearModel


def posteriors(*shape: int, seed: int = 0) -> Inference:
    generator = torch.Generator().manual_seed(seed)
    mean, log_variance = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return Inference(mean, 0.5 * log_variance)


def call(penalty: ScheduledPenalty, inference: Inference) -> Tensor:
    """Penalties of posteriors alone read neither model nor images."""
    leading = inference.mean.shape[:-1]
    batch = ParticleBatch(images=torch.zeros(*leading, 1, 1), index=torch.zeros(*leading))
    loss: Tensor = penalty(LinearModel(), batch, inference)
    return loss


def density(z: Tensor, inference: Inference, particle: int) -> Tensor:
    """Coordinates' densities of a particle's posterior at z."""
    mean, log_variance = inference.mean[particle], inference.log_variance[particle]
    return Normal(mean, (0.5 * log_variance).exp()).log_prob(z).exp()


def test_weighted_total_correlation_by_hand() -> None:
    q, z = posteriors(4, 2), posteriors(4, 2, seed=1).mean
    size = 50
    expected = 0.0
    for sample in z:
        each = torch.stack([density(sample, q, j) for j in range(4)])
        joint = each.prod(1).sum() / (4 * size)
        expected += float(joint.log() - (each.sum(0) / (4 * size)).log().sum()) / 4
    found = total_correlation(z, q, size, "weighted")
    assert float(found) == pytest.approx(expected)


def test_stratified_total_correlation_by_hand() -> None:
    """Chen et al. 2018: own 1 / N, one other (N - M) / (N M), the rest 1 / M, M + 1 = 4."""
    q, z = posteriors(4, 2), posteriors(4, 2, seed=1).mean
    size, others = 50, 3
    expected = 0.0
    for i, sample in enumerate(z):
        weights = torch.full((4,), 1 / others, dtype=torch.float64)
        weights[i] = 1 / size
        weights[(i + 1) % 4] = (size - others) / (size * others)
        assert float(weights.sum()) == pytest.approx(1)
        each = torch.stack([weights[j] * density(sample, q, j) for j in range(4)])
        plain = torch.stack([density(sample, q, j) for j in range(4)])
        joint = (weights * plain.prod(1)).sum()
        expected += float(joint.log() - each.sum(0).log().sum()) / 4
    assert float(total_correlation(z, q, size)) == pytest.approx(expected)


def test_stratified_densities_are_right_on_average() -> None:
    """Over all batches that hold a particle, its density under the whole data set comes out."""
    size, others = 5, 2
    q, sample = posteriors(size, 1), torch.tensor([0.3], dtype=torch.float64)
    each = torch.stack([density(sample, q, j) for j in range(size)])[:, 0]
    found = [
        each[0] / size + each[a] / others + each[b] * (size - others) / (size * others)
        for a, b in itertools.permutations(range(1, size), others)
    ]
    assert float(torch.stack(found).mean()) == pytest.approx(float(each.mean()))


def test_total_correlation_of_a_correlated_normal() -> None:
    """Posteriors much narrower than a normal cloud of correlation .9: -log(1 - ρ²) / 2 nats."""
    generator = torch.Generator().manual_seed(0)
    white = torch.randn(1500, 2, generator=generator, dtype=torch.float64)
    truth = -0.5 * math.log(1 - 0.81)
    for correlation, expected in [(0.0, 0.0), (0.9, truth)]:
        mean = white.clone()
        mean[:, 1] = correlation * white[:, 0] + math.sqrt(1 - correlation**2) * white[:, 1]
        q = Inference(mean, torch.full_like(mean, 2 * math.log(0.2)))
        z = q.sample(generator)
        # The constant of the weighted form at N = B: log N + log B of each marginal too many.
        found = float(total_correlation(z, q, 1500, "weighted")) - math.log(1500)
        assert found == pytest.approx(expected, abs=0.15)


def test_total_correlation_penalty_samples_and_takes_pairs_apart() -> None:
    q = posteriors(6, 3)
    penalty = TotalCorrelation(100, weight=2.0, seed=4)
    expected = total_correlation(
        q.sample(TotalCorrelation(100, seed=4).draws.generator("cpu")), q, 100
    )
    torch.testing.assert_close(call(penalty, q), 2 * expected)
    torch.testing.assert_close(penalty.terms["total_correlation"], expected)
    assert float(call(penalty, q)) != pytest.approx(2 * float(expected))
    pairs = call(TotalCorrelation(100, weight=2.0, seed=4), q.reshape(3, 2))
    torch.testing.assert_close(pairs, 2 * expected)


@pytest.mark.parametrize(("count", "size"), [(1, 100), (6, 5)])
def test_total_correlation_of_impossible_batches(count: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} particles and dataset_size={size}"):
        call(TotalCorrelation(size), posteriors(count, 2))


def test_a_data_set_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="dataset_size must be at least 2, found 1"):
        TotalCorrelation(1)


@settings(max_examples=15)
@given(st.integers(2, 9), st.integers(1, 4), st.integers(0, 100))
def test_dip_vae_by_brute_force(count: int, dim: int, seed: int) -> None:
    q = posteriors(count, dim, seed=seed)
    product = sum(torch.outer(m, m) for m in q.mean) / count
    average = q.mean.mean(0)
    covariance = product - torch.outer(average, average)
    torch.testing.assert_close(dip_covariance(q, "I"), covariance)
    for variant, diagonal in (("I", 10.0), ("II", 1.0)):
        if variant == "II":
            covariance = covariance + torch.diag(q.log_variance.exp().mean(0))
        expected = 0.0
        for i, j in itertools.product(range(dim), range(dim)):
            value = float(covariance[i, j])
            expected += diagonal * (value - 1) ** 2 if i == j else value**2
        penalty = DIPVAE(0.5, diagonal, variant)  # type: ignore[arg-type]
        assert float(call(penalty, q)) == pytest.approx(0.5 * expected)
        together = penalty.terms["off_diagonal"] + diagonal * penalty.terms["diagonal"]
        assert float(together) == pytest.approx(expected)


def test_dip_vae_refuses() -> None:
    with pytest.raises(ValueError, match="DIP-VAE's diagonal must be >= 0, found -1"):
        DIPVAE(diagonal=-1)
    with pytest.raises(ValueError, match="DIP-VAE needs batches of at least 2 particles, found 1"):
        call(DIPVAE(), posteriors(1, 2))


def test_permuted_coordinates_keep_their_marginals() -> None:
    z = posteriors(200, 3).mean
    z[:, 1] = z[:, 0]
    found = permute_coordinates(z, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.sort(0).values, z.sort(0).values)
    assert torch.corrcoef(found.T)[0, 1].abs() < 0.2


def test_factor_vae_sends_each_gradient_where_it_belongs() -> None:
    """The penalty's to the encoder, unweighted cross-entropy's to the discriminator."""
    torch.manual_seed(0)
    q = posteriors(30, 2)
    q.mean.requires_grad_()
    penalty = FactorVAE(2, weight=3.0, width=8, layers=1).double()
    generator = FactorVAE(2).draws.generator("cpu")
    loss = call(penalty, q)
    loss.backward()
    z = q.sample(generator)
    odds = penalty.discriminator(z)
    torch.testing.assert_close(loss, 3 * odds.mean())
    (expected,) = torch.autograd.grad(3 * odds.mean(), q.mean)
    torch.testing.assert_close(q.mean.grad, expected)
    z = z.detach()
    logits = torch.cat(
        [penalty.discriminator(z), penalty.discriminator(permute_coordinates(z, generator))]
    )
    labels = torch.cat([torch.ones(30, 1), torch.zeros(30, 1)]).double()
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    for parameter in penalty.discriminator.parameters():
        (slope,) = torch.autograd.grad(cross_entropy, parameter, retain_graph=True)
        torch.testing.assert_close(parameter.grad, slope)


def test_factor_vae_learns_the_total_correlation_of_a_correlated_normal() -> None:
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    penalty = FactorVAE(2, width=32, layers=1)
    optimizer = torch.optim.Adam(penalty.parameters(), lr=5e-3)
    found = []
    for _ in range(250):
        mean = torch.randn(256, 2, generator=generator)
        mean[:, 1] = 0.9 * mean[:, 0] + math.sqrt(0.19) * mean[:, 1]
        optimizer.zero_grad()
        call(penalty, Inference(mean, torch.full_like(mean, -20))).backward()
        optimizer.step()
        found.append(float(penalty.terms["total_correlation"]))
    assert sum(found[-50:]) / 50 == pytest.approx(-0.5 * math.log(0.19), abs=0.15)
    assert float(penalty.terms["accuracy"]) > 0.6


def test_factor_vae_at_weight_zero_keeps_its_parameters_in_the_graph() -> None:
    penalty = FactorVAE(2, weight=0.0)
    loss = call(penalty, posteriors(4, 2))
    assert float(loss.detach()) == 0
    assert penalty.terms == {}
    loss.backward()
    for parameter in penalty.parameters():
        assert parameter.grad is not None
        assert parameter.grad.eq(0).all()


def test_factor_vae_refuses_a_batch_of_one() -> None:
    with pytest.raises(ValueError, match="FactorVAE needs batches of at least 2 particles"):
        call(FactorVAE(2), posteriors(1, 2))


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 100))
def test_ada_gvae_by_brute_force(count: int, dim: int, seed: int) -> None:
    pairs = posteriors(count, 2, dim, seed=seed)
    rotation = torch.eye(3).expand(count, 2, 3, 3)
    found = ada_gvae_posterior(pairs._replace(pose=Pose(rotation)))
    assert found.pose is not None
    assert found.pose.rotation is rotation
    deviation = (0.5 * pairs.log_variance).exp()
    for i in range(count):
        first, second = (Normal(pairs.mean[i, t], deviation[i, t]) for t in range(2))
        divergence = kl_divergence(first, second)
        middle = (divergence.max() + divergence.min()) / 2
        for k in range(dim):
            if divergence[k] < middle:
                assert torch.equal(found.mean[i, 0, k], found.mean[i, 1, k])
                torch.testing.assert_close(found.mean[i, 0, k], (first.loc + second.loc)[k] / 2)
                variance = (first.variance + second.variance)[k] / 2
                torch.testing.assert_close(found.log_variance[i, 1, k].exp(), variance)
            else:
                assert torch.equal(found.mean[i, :, k], pairs.mean[i, :, k])
                assert torch.equal(found.log_variance[i, :, k], pairs.log_variance[i, :, k])


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 2)])
def test_ada_gvae_needs_pairs(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"posteriors of pairs of frames, shape \(B, 2, Z\), found"
    ):
        ada_gvae_posterior(posteriors(*shape))


@pytest.mark.parametrize("kind", [TotalCorrelation, FactorVAE])
def test_the_same_step_draws_the_same_after_a_resumption(kind: type[ScheduledPenalty]) -> None:
    q = posteriors(8, 2)
    torch.manual_seed(0)
    penalty = kind(10).double() if kind is TotalCorrelation else kind(2).double()
    before = {name: x for name, x in penalty.state_dict().items() if "extra" not in name}
    found = [float(call(penalty, q).detach()) for _ in range(4)]
    assert len(set(found)) == 4
    other = kind(10).double() if kind is TotalCorrelation else kind(2).double()
    other.load_state_dict(before | {"draws._extra_state": {"step": 2}})
    assert [float(call(other, q).detach()) for _ in range(2)] == found[2:]


@pytest.mark.parametrize("weight", [-1.0, float("nan")])
def test_negative_weights_are_refused(weight: float) -> None:
    for make in (
        lambda: TotalCorrelation(9, weight),
        lambda: DIPVAE(weight),
        lambda: FactorVAE(2, weight),
    ):
        with pytest.raises(ValueError, match="weight of a penalty must be finite and >= 0, found"):
            make()
