"""Interventions as penalties: weights, randomness, noise, pairs, and what they refuse."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.losses import (
    ConformationIntervention,
    ContrastiveDistance,
    EstimatedNoise,
    InPlanePoses,
    LinearSchedule,
    PoseIntervention,
    RelativeDistance,
    ShuffledPoses,
    UniformPoses,
    WithVarianceFloor,
    pose_intervention,
    shuffled_order,
)
from cryo_disentangle.losses.pose_sources import PoseSource
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose, flatten_particles
from tests.losses.linear import LinearModel, gradients, make_batch
from tests.losses.two_processes import Turned


def call(penalty: ScheduledPenalty, model: LinearModel, batch: ParticleBatch) -> Tensor:
    flat = model.infer(flatten_particles(batch))
    loss: Tensor = penalty(model, batch, flat.reshape(*batch["index"].shape))
    return loss


def number(penalty: ScheduledPenalty, model: LinearModel, batch: ParticleBatch) -> float:
    return float(call(penalty, model, batch).detach())


def values(penalty: ScheduledPenalty, steps: int) -> list[float]:
    model, batch = LinearModel(infers_pose=True), make_batch()
    return [number(penalty, model, batch) for _ in range(steps)]


def test_it_shuffles_poses_and_adds_noise_as_its_generator_says() -> None:
    model, batch = LinearModel(), make_batch()
    penalty = PoseIntervention(weight=0.4, noise_std=0.3, seed=2)
    generator = copy.deepcopy(penalty.draws).generator("cpu")
    found = call(penalty, model, batch)
    noise = 0.3 * torch.empty_like(batch["images"]).normal_(generator=generator)
    pose = Pose(batch["rotation"][shuffled_order(8, generator)], batch["translation"])
    inference = model.infer(batch)
    terms = pose_intervention(model.infer, model.generate, batch, inference, pose, noise=noise)
    torch.testing.assert_close(found, 0.4 * terms.loss)
    assert set(penalty.terms) == {"conformation", "var_z", "relative"}
    torch.testing.assert_close(penalty.terms["conformation"], terms.loss.detach())


def test_conformations_may_be_draws_from_the_posteriors() -> None:
    model, batch = LinearModel(), make_batch()
    penalty = PoseIntervention(weight=0.4, sampled_conformations=True, seed=2)
    generator = copy.deepcopy(penalty.draws).generator("cpu")
    found = call(penalty, model, batch)
    inference = model.infer(batch)
    white = torch.empty_like(inference.mean).normal_(generator=generator)
    drawn = inference.mean + (0.5 * inference.log_variance).exp() * white
    pose = Pose(batch["rotation"][shuffled_order(8, generator)], batch["translation"])
    target = inference._replace(mean=drawn)
    terms = pose_intervention(model.infer, model.generate, batch, target, pose)
    torch.testing.assert_close(found, 0.4 * terms.loss)


def test_the_terms_are_told_apart_where_poses_are_inferred() -> None:
    model, batch = LinearModel(infers_pose=True), make_batch()
    penalty = PoseIntervention(weight=0.5, pose_weight=3.0)
    loss = call(penalty, model, batch)
    assert set(penalty.terms) == {"conformation", "pose", "var_z", "relative"}
    assert not any(term.requires_grad for term in penalty.terms.values())
    together = penalty.terms["conformation"] + 3 * penalty.terms["pose"]
    torch.testing.assert_close(loss.detach(), 0.5 * together)


def test_conformation_intervention_moves_the_pose_alone() -> None:
    model, batch = LinearModel(infers_pose=True), make_batch()
    penalty = ConformationIntervention(weight=0.5)
    loss = call(penalty, model, batch)
    assert set(penalty.terms) == {"pose", "var_z", "relative"}
    torch.testing.assert_close(loss.detach(), 0.5 * penalty.terms["pose"])
    call(penalty := ConformationIntervention(distance=ContrastiveDistance()), model, batch)
    assert set(penalty.terms) == {"conformation", "pose", "var_z", "relative"}


@pytest.mark.parametrize("kind", [PoseIntervention, ConformationIntervention])
def test_at_weight_zero_it_is_zero_and_asks_nothing(kind: type[ScheduledPenalty]) -> None:
    class Untouchable(nn.Module):
        pass

    penalty = kind(weight=LinearSchedule(0.0, 1.0, last_step=3, first_step=2))
    inference = LinearModel(infers_pose=True).infer(batch := make_batch())
    state = torch.get_rng_state()
    for _ in range(3):
        loss = penalty(Untouchable(), batch, inference)
        assert torch.equal(loss, torch.zeros((), dtype=torch.float64))
        assert penalty.terms == {}
    assert torch.equal(torch.get_rng_state(), state)
    assert penalty.draws.step == 3
    assert number(penalty, LinearModel(infers_pose=True), batch) > 0


def test_steps_at_which_nothing_is_due_can_be_skipped() -> None:
    ramp = LinearSchedule(0.0, 1.0, last_step=9, first_step=2)
    called, skipped = (PoseIntervention(ramp, every_n_steps=2) for _ in range(2))
    model, batch = LinearModel(), make_batch()
    for step in range(8):
        assert skipped.is_due() == (step in (4, 6))
        found = number(called, model, batch)
        if skipped.is_due():
            assert number(skipped, model, batch) == found > 0
        else:
            skipped.skip()
            assert (skipped.terms, found) == ({}, 0)
    assert skipped.draws.step == called.draws.step == 8


def test_noise_is_averaged_in_full_precision() -> None:
    estimate = EstimatedNoise(momentum=0.999)
    for _ in range(500):
        for value in (1.0, 2.0):
            std = estimate(torch.full((1, 1, 1), value, dtype=torch.bfloat16))
    assert std.dtype == torch.float32
    assert std.item() == pytest.approx(2.5**0.5, rel=1e-4)


def test_it_is_due_every_few_steps_and_on_every_held_out_batch() -> None:
    found = values(PoseIntervention(every_n_steps=3), 7)
    assert [value > 0 for value in found] == [True, False, False, True, False, False, True]
    assert len(set(found)) == 4
    held_out = values(PoseIntervention(every_n_steps=3).eval(), 4)
    assert all(value > 0 for value in held_out)


@pytest.mark.parametrize("noise", [0.2, EstimatedNoise()], ids=repr)
def test_a_resumed_penalty_goes_on_exactly(noise: float | EstimatedNoise) -> None:
    def make() -> PoseIntervention:
        ramp = LinearSchedule(0.0, 1.0, last_step=6)
        return PoseIntervention(ramp, noise_std=copy.deepcopy(noise), fraction=0.5)

    whole = values(make(), 7)
    stopped = make()
    assert values(stopped, 4) == whole[:4]
    resumed = make()
    resumed.load_state_dict(copy.deepcopy(stopped.state_dict()))
    assert values(resumed, 3) == whole[4:]


def test_processes_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    found = []
    for rank in range(2):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        found += values(PoseIntervention(), 2)
    assert len(set(found)) == 4


def test_pairs_are_taken_apart() -> None:
    model, batch = LinearModel(infers_pose=True), make_batch(4, pairs=True)
    assert batch["images"].shape[:2] == (4, 2)
    for kind in (PoseIntervention, ConformationIntervention):
        singly = call(kind(), model, flatten_particles(batch))
        assert torch.equal(call(kind(), model, batch), singly)


def test_a_fraction_of_the_batch_is_drawn_anew() -> None:
    class Counting(LinearModel):
        counts: list[int]

        def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
            self.counts.append(len(conformation))
            assert len(batch["images"]) == len(conformation)
            return super().generate(conformation, pose, batch)

    model, batch = Counting(infers_pose=True), make_batch(8)
    for fraction, expected in [(0.01, 2), (0.3, 3), (0.5, 4), (1.0, 8)]:
        model.counts = []
        penalty = PoseIntervention(fraction=fraction)
        first, second = (number(penalty, model, batch) for _ in range(2))
        assert model.counts == [expected] * 2
        assert first != second


def test_estimated_noise_finds_that_of_the_data() -> None:
    """Images that the model explains but for noise that differs between pixels."""
    model, batch = LinearModel(), make_batch(400)
    with torch.no_grad():
        model.encoder.weight.zero_()
        inference = model.infer(batch)
        pose = Pose(batch["rotation"], batch["translation"])
        level = torch.linspace(0.1, 2, 36, dtype=torch.float64).reshape(6, 6)
        clean = model.generate(inference.mean, pose, batch)
    batch["images"] = clean + level * batch["images"]
    noise = EstimatedNoise(particles=400)
    penalty = PoseIntervention(noise_std=noise)
    call(penalty, model, batch)
    found = noise.eval()(batch["images"])
    torch.testing.assert_close(found, level, rtol=0.2, atol=0)
    expected = level.square().mean().sqrt()
    torch.testing.assert_close(penalty.terms["noise_std"], expected, rtol=0.1, atol=0)


def test_estimated_noise_is_a_running_mean_that_held_out_batches_leave_alone() -> None:
    noise = EstimatedNoise(momentum=0.75, particles=2)
    levels = [4.0, 1.0, 9.0, 16.0, 25.0, 36.0]
    residuals = [torch.full((3, 2, 2), level) for level in levels]
    assert float(noise.eval()(residuals[0])[0, 0]) == 4.0
    assert noise.get_extra_state() == {"count": 0, "second_moment": None}
    noise.train()
    expected = 0.0
    for step, (level, residual) in enumerate(zip(levels, residuals, strict=True)):
        share = max(0.25, 1 / (step + 1))
        expected += share * (level**2 - expected)
        assert float(noise(residual)[0, 0]) == pytest.approx(expected**0.5)
    assert float(noise.eval()(residuals[0])[0, 0]) == pytest.approx(expected**0.5)


@pytest.mark.parametrize("options", [{"momentum": 1.0}, {"momentum": -0.1}, {"particles": 0}])
def test_estimates_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="needs 0 <= momentum < 1 and particles >= 1, found"):
        EstimatedNoise(**options)


@pytest.mark.parametrize("distance", [None, RelativeDistance()], ids=repr)
def test_halves_of_a_batch_give_the_mean_of_their_gradients(
    distance: RelativeDistance | None,
) -> None:
    """With fixed poses a mean over particles is what data-parallel processes average."""
    model, batch = LinearModel(infers_pose=True), make_batch(8)

    def slopes(rows: slice) -> dict[str, Tensor]:
        part: Any = {key: value[rows] for key, value in batch.items()}  # type: ignore[index]
        penalty = PoseIntervention(poses=Turned(), distance=distance)
        return gradients(model, call(penalty, model, part))

    first, second = slopes(slice(4)), slopes(slice(4, None))
    for name, slope in slopes(slice(None)).items():
        torch.testing.assert_close((first[name] + second[name]) / 2, slope)


class _Blind(nn.Module):
    """An encoder that sees nothing: the same z for every image."""

    def infer(self, batch: ParticleBatch) -> Inference:
        mean = torch.ones(len(batch["images"]), 2)
        return Inference(mean, torch.zeros_like(mean))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        return torch.zeros(len(conformation), 4, 4)


def test_a_constant_conformation_satisfies_only_the_plain_distance() -> None:
    generator = torch.Generator().manual_seed(0)
    batch = ParticleBatch(
        images=torch.rand(16, 4, 4, generator=generator),
        index=torch.arange(16),
        rotation=random_rotations(16, generator=generator),
    )
    model = _Blind()
    assert isinstance(model, LatentImageModel)
    inference = model.infer(batch)
    assert float(PoseIntervention(1.0)(model, batch, inference)) == 0
    contrastive = PoseIntervention(1.0, distance=ContrastiveDistance())
    assert float(contrastive(model, batch, inference)) >= torch.log(torch.tensor(16.0)) - 1e-6
    floor = PoseIntervention(1.0, distance=WithVarianceFloor(floor=0.5))
    assert float(floor(model, batch, inference)) == pytest.approx(0.499, abs=1e-3)


def test_a_model_that_cannot_generate_is_refused() -> None:
    batch = make_batch()
    inference = LinearModel().infer(batch)
    with pytest.raises(TypeError, match=r"PoseIntervention needs a model with generate\(.*Linear"):
        PoseIntervention()(nn.Linear(1, 1), batch, inference)


def test_a_model_without_pose_is_refused_at_the_first_call() -> None:
    with pytest.raises(ValueError, match="conformation intervention tests the inferred"):
        call(ConformationIntervention(), LinearModel(), make_batch())


@pytest.mark.parametrize(
    "penalty", [PoseIntervention(poses=ShuffledPoses()), ConformationIntervention()]
)
def test_a_batch_of_one_is_refused(penalty: ScheduledPenalty) -> None:
    with pytest.raises(ValueError, match="a shuffle needs batches of at least 2 particles"):
        call(penalty, LinearModel(infers_pose=True), make_batch(1))


@pytest.mark.parametrize(
    ("infers_pose", "source"), [(False, ShuffledPoses()), (True, UniformPoses("so3"))]
)
def test_known_poses_are_shuffled_and_inferred_ones_drawn_from_the_prior(
    infers_pose: bool, source: PoseSource
) -> None:
    model, batch = LinearModel(infers_pose=infers_pose), make_batch()
    expected = number(PoseIntervention(poses=source), model, batch)
    assert number(PoseIntervention(), model, batch) == expected


@pytest.mark.parametrize("poses", [UniformPoses(), InPlanePoses()], ids=repr)
def test_other_poses_serve_a_batch_of_one(poses: UniformPoses | InPlanePoses) -> None:
    assert number(PoseIntervention(poses=poses), LinearModel(), make_batch(1)) > 0


@pytest.mark.parametrize("kind", [PoseIntervention, ConformationIntervention])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -0.1}, r"weight of a penalty must be finite and >= 0, found -0\.1"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1, found 0"),
        ({"fraction": 0.0}, r"fraction must be in \(0, 1\], found 0"),
        ({"fraction": 1.5}, r"fraction must be in \(0, 1\], found 1\.5"),
        ({"noise_std": -1.0}, r"noise_std must be finite and >= 0, found -1\.0"),
    ],
)
def test_options_out_of_range_are_refused(
    kind: type[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_a_schedule_that_goes_below_zero_is_refused_when_it_does() -> None:
    penalty = PoseIntervention(LinearSchedule(1.0, -1.0, last_step=2))
    with pytest.raises(ValueError, match=r"weight of a penalty must be .* found -1\.0"):
        values(penalty, 3)


def test_it_runs_under_autocast() -> None:
    model, batch = LinearModel(infers_pose=True).float(), make_batch()
    batch: Any = {key: x.float() if x.is_floating_point() else x for key, x in batch.items()}  # type: ignore
    for poses in (None, InPlanePoses(), UniformPoses()):
        plain = call(PoseIntervention(poses=poses, gradient="decoder"), model, batch)
        with torch.autocast("cpu", torch.bfloat16):
            half = call(PoseIntervention(poses=poses, gradient="decoder"), model, batch)
        # The same poses are drawn; what is left is the rounding of the networks.
        torch.testing.assert_close(half, plain, rtol=0.01, atol=0)
