"""Pairs of frames and single particles."""

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.types import (
    Inference,
    ParticleBatch,
    Pose,
    flatten_particles,
    observation,
    observed,
)


def test_pairs_become_adjacent_rows_and_back() -> None:
    batch = ParticleBatch(images=torch.rand(3, 2, 5, 5), index=torch.arange(6).reshape(3, 2))
    flat = flatten_particles(batch)
    assert flat["images"].shape == (6, 5, 5)
    assert flat["index"].tolist() == list(range(6))
    mean = torch.rand(6, 4)
    pose = Pose(torch.eye(3).expand(6, 3, 3), torch.rand(6, 2))
    pairs = Inference(mean, mean, pose).reshape(3, 2)
    assert torch.equal(pairs.mean[1, 0], mean[2])
    assert pairs.pose is not None
    assert pairs.pose.rotation.shape == (3, 2, 3, 3)
    again = pairs.reshape(6)
    assert again.pose is not None
    assert again.pose.translation is not None
    torch.testing.assert_close(again.pose.translation, pose.translation)


def test_single_particles_stay_as_they_are() -> None:
    batch = ParticleBatch(images=torch.rand(3, 5, 5), index=torch.arange(3))
    assert flatten_particles(batch) is batch


def _full(*leading: int, width: int = 3) -> Inference:
    generator = torch.Generator().manual_seed(1)
    kind = {"generator": generator, "dtype": torch.float64}
    mean = torch.randn(*leading, width, **kind)  # type: ignore[call-overload]
    scale = torch.randn(*leading, width, width, **kind).tril()  # type: ignore[call-overload]
    scale.diagonal(dim1=-2, dim2=-1).abs_().add_(0.1)
    return Inference.of_scale(mean, scale)


def test_a_full_posterior_draws_from_its_covariance() -> None:
    one = _full(1)
    many = one.map(lambda part: part.expand(200_000, *part.shape[1:]))
    drawn = many.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.mean(0), one.mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), one.covariance[0], atol=0.05, rtol=0.02)
    torch.testing.assert_close(one.log_variance.exp()[0], one.covariance[0].diagonal())


def test_total_correlation_is_the_divergence_from_the_marginals() -> None:
    full = _full(4)
    normal = torch.distributions.MultivariateNormal
    joint = normal(full.mean, full.covariance)
    marginals = normal(full.mean, torch.diag_embed(full.log_variance.exp()))
    expected = torch.distributions.kl_divergence(joint, marginals)
    torch.testing.assert_close(full.total_correlation, expected)
    plain = Inference(full.mean, full.log_variance)
    assert not plain.total_correlation.any()
    torch.testing.assert_close(plain.covariance, torch.diag_embed(full.log_variance.exp()))


def test_a_full_posterior_is_rearranged_whole() -> None:
    precision = torch.rand(6, 4, 4)
    pose = Pose(torch.eye(3).expand(6, 3, 3), None, precision)
    pairs = _full(6)._replace(pose=pose).reshape(3, 2)
    assert pairs.scale_tril is not None
    assert pairs.scale_tril.shape == (3, 2, 3, 3)
    assert pairs.total_correlation.shape == (3, 2)
    assert pairs.pose is not None
    assert pairs.pose.precision is not None
    assert torch.equal(pairs.pose.precision.reshape(6, 4, 4), precision)


def test_a_batch_shows_what_was_observed_instead() -> None:
    pose = Pose(torch.eye(3).expand(3, 3, 3), torch.rand(3, 2), torch.rand(3, 4, 4))
    images = ParticleBatch(images=torch.rand(3, 5, 5), index=torch.arange(3))
    new = torch.rand(3, 5, 5)
    seen = observed(images, new, pose)
    assert seen.keys() == {"images", "index", "rotation", "translation"}
    assert observation(seen) is new
    statistics = ParticleBatch(
        information=torch.rand(3, 4), precision=torch.rand(3, 4, 4), index=torch.arange(3)
    )
    vectors = torch.rand(3, 4)
    seen = observed(statistics, vectors, pose._replace(translation=None))
    assert seen.keys() == {"information", "precision", "index", "rotation"}
    assert observation(seen) is vectors
    assert seen["precision"] is pose.precision
    assert observation(statistics) is not vectors


def test_statistics_are_seen_only_as_a_particle_was_imaged() -> None:
    statistics = ParticleBatch(
        information=torch.rand(3, 4), precision=torch.rand(3, 4, 4), index=torch.arange(3)
    )
    with pytest.raises(ValueError, match=r"only at the poses of imaged particles, .*ShuffledPoses"):
        observed(statistics, torch.rand(3, 4), Pose(torch.eye(3).expand(3, 3, 3)))
