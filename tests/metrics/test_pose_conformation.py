from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.metrics.pose_conformation import PoseConformationMetrics
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.metrics.toy_models import DIM, ToyModel, split_batch, toy_batch
from tests.small_model import make_batch, make_model

CONFORMATION = (
    "volume_consistency",
    "conformation_encoder_consistency",
    "conformation_pose_invariance",
)
POSE = ("volume_pose_invariance", "pose_encoder_consistency", "pose_conformation_invariance")


class Gauge(ToyModel):
    """A perfect model with axes, hand and latents of its own."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(9)
        self.axes = random_rotations(1, generator=generator, dtype=torch.float64)[0]
        self.mixing = torch.randn(DIM, DIM, generator=generator, dtype=torch.float64)
        self.mirror = torch.diag(torch.tensor([1, 1, -1], dtype=torch.float64))

    def infer(self, batch: ParticleBatch) -> Inference:
        mean, log_variance, pose, _ = super().infer(batch)
        assert pose is not None
        rotation = self.mirror @ pose.rotation @ self.mirror @ self.axes
        return Inference(mean @ self.mixing, log_variance, Pose(rotation, pose.translation))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        rotation = self.mirror @ pose.rotation @ self.axes.T @ self.mirror
        z = conformation @ torch.linalg.inv(self.mixing)
        return super().generate(z, Pose(rotation, pose.translation), batch)


def score(
    model: LatentImageModel, count: int = 400, size: int = 50, **options: Any
) -> dict[str, float]:
    metric = PoseConformationMetrics(**options)
    sizes = [size] * (count // size)
    for batch in split_batch(toy_batch(count), sizes):
        metric.update(model, batch)
    scores = metric.compute()
    assert all(v.dtype == torch.float64 and v.shape == () for v in scores.values())
    return {name: float(value) for name, value in scores.items()}


@pytest.mark.parametrize("truth", [False, True])
def test_a_perfect_model(truth: bool) -> None:
    generator = TrueGenerator(ToyModel().generate) if truth else None
    scores = score(ToyModel(), generator=generator, oracle=ToyModel() if truth else None)
    for name in (*CONFORMATION, *POSE):
        assert scores[name] == pytest.approx(0, abs=1e-9)
        assert scores[f"{name}_normalized"] == pytest.approx(0, abs=1e-9)
    for name in POSE:
        assert scores[f"{name}_median_deg"] == pytest.approx(0, abs=1e-4)
        assert scores[f"{name}_below_5_deg"] == scores[f"{name}_below_10_deg"] == 1
    assert scores["volume_consistency_r2_min"] == pytest.approx(1)
    assert scores["conformation_pose_invariance_icc_mean"] == pytest.approx(1)
    assert scores["total"] == scores["total_normalized"] == pytest.approx(0, abs=1e-9)
    assert scores["translation_error_px"] == pytest.approx(0, abs=1e-9)
    assert scores["posterior_std"] == pytest.approx(math.exp(-1))
    assert scores["conformation_std"] == pytest.approx(1, abs=0.1)
    assert scores["collapsed"] == 0


def test_axes_hand_and_coordinates_are_free() -> None:
    scores = score(Gauge(), generator=TrueGenerator(ToyModel().generate), oracle=ToyModel())
    for name in (*CONFORMATION, *POSE):
        assert scores[f"{name}_normalized"] == pytest.approx(0, abs=1e-9)
    assert scores["pose_encoder_consistency_mirrored"] == 1
    assert scores["volume_pose_invariance_mirrored"] == 1
    assert scores["conformation_encoder_consistency_unaligned_normalized"] > 0.1


@pytest.mark.parametrize("scale", [1.0, 0.01])
def test_a_leak_is_measured_at_any_scale(scale: float) -> None:
    leak = math.sqrt(3)
    truth = TrueGenerator(ToyModel().generate)
    scores = score(ToyModel(leak=leak, scale=scale), 2000, 100, generator=truth)
    # Variances: 1 of the conformation, 1 of √3 times a component of the viewing direction.
    assert scores["conformation_pose_invariance_normalized"] == pytest.approx(0.5, abs=0.03)
    assert scores["conformation_pose_invariance"] == pytest.approx(6 * scale**2, rel=0.05)
    assert scores["conformation_encoder_consistency_normalized"] == pytest.approx(0.5, abs=0.03)
    assert scores["conformation_pose_invariance_icc_min"] == pytest.approx(0.5, abs=0.06)
    for name in POSE:
        assert scores[f"{name}_normalized"] == pytest.approx(0, abs=1e-9)


def test_a_pose_that_heeds_the_conformation() -> None:
    truth = TrueGenerator(ToyModel().generate)
    scores = score(ToyModel(pose_leak=0.1), 1000, generator=truth)
    # The pose turns by 0.1 rad a unit: once by z, and between z and z' by their difference.
    assert scores["pose_encoder_consistency"] == pytest.approx(0.01, rel=0.1)
    assert scores["pose_conformation_invariance"] == pytest.approx(0.02, rel=0.1)
    median = math.degrees(0.1 * 0.6745)
    assert scores["pose_encoder_consistency_median_deg"] == pytest.approx(median, rel=0.1)
    assert scores["total"] == pytest.approx(0.01, rel=0.15)


def test_self_consistency_tells_two_pairs_of_equal_numbers() -> None:
    scores = score(ToyModel(leak=0.5, pose_leak=0.2))
    assert scores["volume_consistency"] == scores["conformation_encoder_consistency"] > 0
    assert scores["volume_pose_invariance"] == scores["pose_encoder_consistency"] > 0
    total = scores["volume_consistency"] + scores["volume_pose_invariance"]
    assert scores["total"] == pytest.approx(total)
    assert not any("mirrored" in name or "unaligned" in name for name in scores)


def test_given_poses_leave_metrics_out_and_say_why() -> None:
    metric = PoseConformationMetrics()
    metric.update(ToyModel(infers_pose=False, leak=0.3), toy_batch(60))
    scores = metric.compute()
    assert set(metric.unavailable) == set(POSE)
    assert set(metric.unavailable.values()) == {
        "the model takes poses from the data and infers none"
    }
    assert not any(name.startswith(POSE) or "translation" in name for name in scores)
    assert set(CONFORMATION) < set(scores)
    assert float(scores["total"]) == float(scores["volume_consistency"])
    metric.reset()
    assert metric.unavailable == {}


def test_an_oracle_finds_the_pose_of_a_model_that_infers_none() -> None:
    metric = PoseConformationMetrics(oracle=ToyModel())
    metric.update(ToyModel(infers_pose=False), toy_batch(60))
    assert set(metric.unavailable) == set(POSE[1:])
    assert float(metric.compute()["volume_pose_invariance_normalized"]) < 1e-9


def test_an_oracle_without_poses() -> None:
    metric = PoseConformationMetrics(oracle=ToyModel(infers_pose=False))
    metric.update(ToyModel(), toy_batch(60))
    assert metric.unavailable == {"volume_pose_invariance": "the oracle infers no pose"}
    scores = metric.compute()
    assert "volume_pose_invariance" not in scores
    assert "pose_encoder_consistency" in scores


def test_a_model_that_infers_poses_is_not_told_them() -> None:
    model = ToyModel()
    PoseConformationMetrics().update(model, toy_batch(10))
    given, *shown = model.seen
    assert "rotation" in given
    assert len(shown) == 3
    assert not any("rotation" in batch or "translation" in batch for batch in shown)


def test_a_model_that_takes_poses_is_shown_those_of_the_images() -> None:
    model = ToyModel(infers_pose=False)
    PoseConformationMetrics().update(model, toy_batch(10))
    _, *shown = model.seen
    assert len(shown) == 2
    for batch in shown:
        pose = ToyModel().infer(batch).pose
        assert pose is not None
        assert torch.equal(pose.rotation, batch["rotation"])
        assert pose.translation is not None
        assert torch.equal(pose.translation, batch["translation"])


def test_constant_latents_are_collapsed() -> None:
    scores = score(ToyModel(scale=1e-300))
    assert scores["collapsed"] == 1
    assert scores["volume_consistency"] == 0
    for name in CONFORMATION:
        assert scores[f"{name}_normalized"] == 1
    assert scores["total_normalized"] == pytest.approx(0.5)


def test_noise_of_the_data_costs() -> None:
    model = ToyModel(infers_pose=False)
    scores = score(model, 1000, noise_std=0.5)
    # z has three components, each read with this noise once (consistency) or twice (invariance).
    assert scores["volume_consistency"] == pytest.approx(3 * 0.25, rel=0.1)
    assert scores["conformation_pose_invariance"] == pytest.approx(6 * 0.25, rel=0.1)
    assert score(model, noise_std=0.0)["total"] == score(model)["total"]


def test_batches_in_any_order_and_padded() -> None:
    model, parts = ToyModel(leak=0.4, pose_leak=0.1), split_batch(toy_batch(40), [10, 7, 13, 10])
    plain, padded = PoseConformationMetrics(noise_std=0.1), PoseConformationMetrics(noise_std=0.1)
    for part in parts:
        plain.update(model, part)
    for part in (parts[2], parts[0], parts[3], parts[1], parts[0]):
        padded.update(model, part)
    expected, found = plain.compute(), padded.compute()
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-12, msg=name)


def test_a_particle_alone_is_left_out() -> None:
    model, parts = ToyModel(leak=0.4), split_batch(toy_batch(21), [20, 1])
    one, both = PoseConformationMetrics(), PoseConformationMetrics()
    one.update(model, parts[0])
    for part in parts:
        both.update(model, part)
    assert {k: float(v) for k, v in both.compute().items()} == {
        k: float(v) for k, v in one.compute().items()
    }
    alone = PoseConformationMetrics()
    alone.update(model, parts[1])
    with pytest.raises(ValueError, match="PoseConformationMetrics has nothing to score"):
        alone.compute()


def test_two_particles_are_enough_to_trade() -> None:
    scores = score(ToyModel(leak=0.4, pose_leak=0.3), 20, 2)
    assert scores["conformation_pose_invariance"] > 0.01
    assert scores["pose_conformation_invariance"] > 0.01


def test_pairs_of_frames_count_one_by_one() -> None:
    batch = toy_batch(20)
    pairs = {key: value.unflatten(0, (10, 2)) for key, value in batch.items()}  # type: ignore[attr-defined]
    single, paired = PoseConformationMetrics(), PoseConformationMetrics()
    single.update(ToyModel(leak=1.0), batch)
    paired.update(ToyModel(leak=1.0), pairs)  # type: ignore[arg-type]
    assert float(paired.compute()["total"]) == float(single.compute()["total"])


def test_a_real_model_keeps_its_mode_and_weights() -> None:
    model = make_model().train()
    metric = PoseConformationMetrics(noise_std=1.0)
    metric.update(model, make_batch())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    scores = metric.compute()
    assert all(bool(value.isfinite()) for value in scores.values())
    assert not list(metric.parameters())


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="noise_std must not be negative, got -1"):
        PoseConformationMetrics(noise_std=-1)
    batch = toy_batch(5)
    del batch["factors"]
    metric = PoseConformationMetrics(TrueGenerator(ToyModel().generate))
    with pytest.raises(ValueError, match="beside a true generator a batch needs factors"):
        metric.update(ToyModel(), batch)
    del batch["rotation"]
    with pytest.raises(ValueError, match="have no poses and the model infers none"):
        PoseConformationMetrics().update(ToyModel(infers_pose=False), batch)
    with pytest.raises(ValueError, match="nothing to score"):
        PoseConformationMetrics().rows()
