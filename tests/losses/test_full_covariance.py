"""Penalties of posteriors whose coordinates depend on each other, and poses of statistics."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from cryo_disentangle.losses import (
    InPlanePoses,
    PosteriorDistance,
    ShuffledPoses,
    UniformPoses,
    ada_gvae_posterior,
    shuffled_order,
)
from cryo_disentangle.losses.dip_vae import dip_covariance
from cryo_disentangle.losses.pose_sources import PoseSource
from cryo_disentangle.losses.round_trip import own_pose
from cryo_disentangle.losses.total_correlation import total_correlation
from cryo_disentangle.types import Inference, ParticleBatch, Pose


def full(*leading: int) -> Inference:
    generator = torch.Generator().manual_seed(2)
    kind = {"generator": generator, "dtype": torch.float64}
    mean = torch.randn(*leading, 3, **kind)  # type: ignore[call-overload]
    scale = torch.randn(*leading, 3, 3, **kind).tril()  # type: ignore[call-overload]
    scale.diagonal(dim1=-2, dim2=-1).abs_().add_(0.2)
    return Inference.of_scale(mean, scale)


def test_the_posterior_distance_is_the_density() -> None:
    found, target = full(6), Inference(full(6).mean.flip(0), torch.zeros(6, 3))
    density = MultivariateNormal(found.mean, scale_tril=found.scale_tril)
    expected = -density.log_prob(target.mean).mean() - 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(PosteriorDistance().forward(found, target), expected)


def test_independent_coordinates_are_a_special_case() -> None:
    plain, target = full(6)._replace(scale_tril=None), Inference(full(6).mean.flip(0), full(6).mean)
    as_full = Inference.of_scale(plain.mean, torch.diag_embed((0.5 * plain.log_variance).exp()))
    extreme = Inference(plain.mean, torch.full_like(plain.mean, -30.0))
    as_full_too = Inference.of_scale(plain.mean, torch.diag_embed((0.5 * extreme[1]).exp()))
    distance = PosteriorDistance()
    for one, other in ((plain, as_full), (extreme, as_full_too)):
        torch.testing.assert_close(distance.forward(one, target), distance.forward(other, target))
    for variant in ("I", "II"):
        torch.testing.assert_close(
            dip_covariance(plain, variant),
            dip_covariance(as_full, variant),
        )
    drawn = plain.mean.flip(1)
    torch.testing.assert_close(
        total_correlation(drawn, plain, 50), total_correlation(drawn, as_full, 50)
    )


def test_weighted_total_correlation_by_hand() -> None:
    q, z, size = full(4), full(4).mean.flip(0), 50
    expected = 0.0
    for sample in z:
        joint = MultivariateNormal(q.mean, scale_tril=q.scale_tril).log_prob(sample).exp()
        each = torch.distributions.Normal(q.mean, (0.5 * q.log_variance).exp())
        marginals = each.log_prob(sample).exp().sum(0) / (4 * size)
        expected += float((joint.sum() / (4 * size)).log() - marginals.log().sum()) / 4
    assert float(total_correlation(z, q, size, "weighted")) == pytest.approx(expected)


def test_the_aggregate_covariance_has_the_posteriors_own() -> None:
    q = full(40_000)
    drawn = q.sample(torch.Generator().manual_seed(0))
    found = dip_covariance(q, "II")
    torch.testing.assert_close(found, torch.cov(drawn.T), atol=0.1, rtol=0)


def test_averaged_posteriors_are_of_independent_coordinates() -> None:
    assert ada_gvae_posterior(full(5, 2)).scale_tril is None


def _pose(count: int) -> Pose:
    generator = torch.Generator().manual_seed(0)
    turned = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))[0]
    return Pose(turned, torch.rand(count, 2), torch.rand(count, 4, 4))


def test_a_shuffle_hands_rotation_and_precision_on_together() -> None:
    pose = _pose(7)
    drawn = ShuffledPoses().draw(pose, torch.Generator().manual_seed(1))
    order = shuffled_order(7, torch.Generator().manual_seed(1))
    assert drawn.precision is not None
    assert pose.precision is not None
    assert torch.equal(drawn.precision, pose.precision[order])
    assert torch.equal(drawn.rotation, pose.rotation[order])
    assert drawn.translation is pose.translation


@pytest.mark.parametrize("source", [UniformPoses(), UniformPoses("so3"), InPlanePoses()], ids=repr)
def test_poses_that_nothing_was_imaged_from_are_refused(source: PoseSource) -> None:
    with pytest.raises(ValueError, match=r"generates poses.*: use ShuffledPoses"):
        source.draw(_pose(4), torch.Generator())


def test_the_own_pose_has_the_precision_of_the_batch() -> None:
    pose = _pose(4)
    assert pose.precision is not None
    batch = ParticleBatch(
        information=torch.rand(4, 4),
        precision=pose.precision.clone().requires_grad_(),
        rotation=pose.rotation,
        index=torch.arange(4),
    )
    found = own_pose(batch, full(4))
    assert found.precision is not None
    assert not found.precision.requires_grad
    torch.testing.assert_close(found.precision, pose.precision)
