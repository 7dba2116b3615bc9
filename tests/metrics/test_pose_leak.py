from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.metrics.functional.leak import nuisance_leak, pose_leak
from cryo_disentangle.metrics.pose_leak import PoseLeak
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.metrics.toy_models import split_batch

COUNT = 600


@pytest.fixture(scope="module")
def particles() -> ParticleBatch:
    generator = torch.Generator().manual_seed(0)
    ctf = torch.tensor([64, 2.0, 15000, 14000, 20, 300, 2.7, 0.1, 0]).repeat(COUNT, 1)
    ctf[:, 2:4] += 2000 * torch.randn(COUNT, 1, generator=generator)
    return ParticleBatch(
        images=torch.zeros(COUNT, 1, 1),
        index=torch.arange(COUNT),
        rotation=random_rotations(COUNT, generator=generator),
        translation=torch.randn(COUNT, 2, generator=generator),
        ctf=ctf,
        time=torch.arange(COUNT) % 7,
        temperature=torch.full((COUNT,), 300.0),
    )


@pytest.fixture(scope="module")
def z(particles: ParticleBatch) -> Tensor:
    noise = torch.randn(COUNT, generator=torch.Generator().manual_seed(1))
    view = particles["rotation"][:, 2]
    return torch.stack([view[:, 0] * view[:, 1], particles["ctf"][:, 2], noise], 1)


def inference(z: Tensor, pose: Pose | None = None) -> Inference:
    return Inference(z, torch.zeros_like(z), pose)


def test_scores_of_what_the_batches_hold(particles: ParticleBatch, z: Tensor) -> None:
    metric = PoseLeak()
    metric.update(inference(z), particles)
    scores = {name: float(value) for name, value in metric.compute().items()}
    assert all(value.shape == () for value in metric.compute().values())
    direct = pose_leak(z, particles["rotation"])
    assert scores["pose_leak_nonlinear_r2"] == pytest.approx(float(direct.nonlinear_r2.mean()))
    assert scores["pose_leak_nonlinear_r2_max"] == pytest.approx(float(direct.nonlinear_r2[0]))
    assert scores["pose_leak_nonlinear_r2_max"] > 0.9
    assert scores["pose_leak_linear_r2"] < 0.05
    assert scores["pose_leak_rotation_nonlinear_r2"] < 0.2
    assert scores["pose_leak_mutual_information"] == float(direct.mutual_information.max())
    defocus = nuisance_leak(z, {"defocus": particles["ctf"][:, 2:4]})["defocus"]
    assert scores["defocus_leak_linear_r2"] == pytest.approx(float(defocus.linear_r2.mean()))
    assert scores["defocus_leak_nonlinear_r2_max"] > 0.95
    assert scores["defocus_leak_mutual_information"] > 1
    for name in ("shift", "time"):
        assert scores[f"{name}_leak_nonlinear_r2_max"] < 0.1
    assert scores["temperature_leak_nonlinear_r2_max"] == 0


def test_only_what_is_there_is_scored(particles: ParticleBatch, z: Tensor) -> None:
    metric = PoseLeak()
    metric.update(z, ParticleBatch(images=particles["images"], index=particles["index"]))
    assert metric.compute() == {}


def test_the_inferred_pose_stands_in(particles: ParticleBatch, z: Tensor) -> None:
    bare = ParticleBatch(images=particles["images"], index=particles["index"])
    given, inferred = PoseLeak(), PoseLeak()
    given.update(z, {**bare, "rotation": particles["rotation"]})
    inferred.update(inference(z, Pose(particles["rotation"])), bare)
    assert given.compute() == inferred.compute()
    assert set(given.compute()) == {
        "pose_leak_linear_r2",
        "pose_leak_nonlinear_r2",
        "pose_leak_nonlinear_r2_max",
        "pose_leak_rotation_linear_r2",
        "pose_leak_rotation_nonlinear_r2",
        "pose_leak_mutual_information",
    }


def test_batches_order_and_pairs_change_nothing(particles: ParticleBatch, z: Tensor) -> None:
    whole, parts, pairs = PoseLeak(), PoseLeak(), PoseLeak()
    whole.update(z, particles)
    sizes = [100, 37, COUNT - 137]
    batches = list(zip(z.split(sizes), split_batch(particles, sizes), strict=True))
    for codes, batch in (*reversed(batches), batches[0]):
        parts.update(codes, batch)
    frames = {key: value.unflatten(0, (-1, 2)) for key, value in particles.items()}  # type: ignore[attr-defined]
    pairs.update(inference(z.unflatten(0, (-1, 2))), frames)  # type: ignore[arg-type]
    assert whole.compute() == parts.compute() == pairs.compute()
