"""Pairs of frames and single particles."""

from __future__ import annotations

import torch

from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles


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
