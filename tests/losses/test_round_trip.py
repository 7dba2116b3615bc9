"""Algorithm 1 as functions: where its gradient flows, and what it compares."""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.losses import (
    ContrastiveDistance,
    RoundTripDistance,
    SquaredDistance,
    conformation_intervention,
    pose_intervention,
)
from cryo_disentangle.losses.round_trip import InterventionTerms, own_pose
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.losses.linear import SIDE, LinearModel, gradients, make_batch

_COUNT = 8


def other_pose(batch: ParticleBatch) -> Pose:
    generator = torch.Generator().manual_seed(5)
    rotation = random_rotations(_COUNT, generator=generator, dtype=torch.float64)
    return Pose(rotation, batch["translation"])


def noise() -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return 0.2 * torch.randn(_COUNT, SIDE, SIDE, generator=generator, dtype=torch.float64)


def run(model: LinearModel, batch: ParticleBatch, **options: Any) -> InterventionTerms:
    inference = options.pop("inference", None) or model.infer(batch)
    pose = other_pose(batch)
    return pose_intervention(
        model.infer, model.generate, batch, inference, pose, noise=noise(), **options
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_models_in_half_precision_are_compared_in_full(dtype: torch.dtype) -> None:
    model, batch = LinearModel(infers_pose=True), make_batch()
    expected = run(model, batch)
    half: Any = LinearModel(infers_pose=True).to(dtype)
    narrow: Any = {
        key: value.to(dtype) if torch.is_floating_point(value) else value
        for key, value in cast(dict[str, Tensor], batch).items()
    }
    pose = Pose(other_pose(batch).rotation.to(dtype), narrow["translation"])
    found = pose_intervention(
        half.infer, half.generate, narrow, half.infer(narrow), pose, noise=noise().to(dtype)
    )
    for term, value in zip(found, expected, strict=True):
        assert isinstance(term, Tensor)
        assert term.dtype == torch.float32
        torch.testing.assert_close(term.double(), value, rtol=0.05, atol=0.01)
    assert all(slope.isfinite().all() for slope in gradients(half, found.loss).values())


def algorithm_1(model: LinearModel, batch: ParticleBatch) -> tuple[Tensor, Tensor, Tensor | None]:
    """Written out: decoded images, Eq. 2's two terms."""
    with torch.no_grad():
        z = model.infer(batch).mean
    pose = other_pose(batch)
    images = model.generate(z, pose, batch) + noise()
    seen = cast(ParticleBatch, {**batch, "images": images, "rotation": pose.rotation})
    again = model.infer(seen)
    conformation = (again.mean - z).square().sum(1).mean()
    if again.pose is None:
        return images, conformation, None
    trace = (again.pose.rotation * pose.rotation).sum((1, 2))
    return images, conformation, (1 - (trace - 1) / 2).mean()


@pytest.mark.parametrize("infers_pose", [False, True])
@pytest.mark.parametrize("reads_pose", [False, True])
def test_it_is_algorithm_1(infers_pose: bool, reads_pose: bool) -> None:
    model, batch = LinearModel(infers_pose=infers_pose, reads_pose=reads_pose), make_batch(_COUNT)
    terms = run(model, batch)
    _, conformation, pose = algorithm_1(model, batch)
    expected = conformation if pose is None else conformation + pose
    torch.testing.assert_close(terms.loss, expected)
    torch.testing.assert_close(terms.conformation, conformation)
    assert (terms.pose is None) == (not infers_pose)
    found, wanted = gradients(model, terms.loss), gradients(model, expected)
    for name, slope in wanted.items():
        torch.testing.assert_close(found[name], slope)
        assert slope.abs().max() > 0


def test_nothing_flows_into_the_detached_latents_and_poses() -> None:
    model, batch = LinearModel(infers_pose=True), make_batch(_COUNT)
    first = model.infer(batch)
    assert first.pose is not None
    leaves = [x.detach().requires_grad_() for x in (first.mean, first.log_variance)]
    rotation = first.pose.rotation.detach().requires_grad_()
    translation = batch["translation"].clone().requires_grad_()
    pose = Pose(rotation, translation)
    inference = Inference(leaves[0], leaves[1], pose)
    terms = pose_intervention(model.infer, model.generate, batch, inference, pose)
    order = torch.arange(_COUNT).roll(1)
    swapped = conformation_intervention(model.infer, model.generate, batch, inference, order)
    (terms.loss + swapped.loss).backward()
    for leaf in (*leaves, rotation, translation):
        assert leaf.grad is None


@pytest.mark.parametrize("compare", [SquaredDistance(), ContrastiveDistance()], ids=repr)
def test_the_gradient_goes_to_whom_it_is_meant_for(
    compare: SquaredDistance | ContrastiveDistance,
) -> None:
    """Encoder's and decoder's are the two parts of the whole gradient, at one value."""
    model, batch = LinearModel(infers_pose=True), make_batch(_COUNT)
    distance = RoundTripDistance(compare, pose_weight=0.7)
    terms = {
        who: run(model, batch, distance=distance, gradient=who)
        for who in ("both", "encoder", "decoder")
    }
    slopes = {who: gradients(model, found.loss) for who, found in terms.items()}
    for found in terms.values():
        assert torch.equal(found.loss, terms["both"].loss)
    for name, slope in slopes["both"].items():
        part = name.split(".")[0]
        other = "decoder" if part == "encoder" else "encoder"
        torch.testing.assert_close(slopes[part][name], slope)
        assert slopes[other][name].eq(0).all()


@pytest.mark.parametrize("gradient", ["both", "encoder", "decoder"])
def test_it_can_be_evaluated_without_gradients(gradient: str) -> None:
    model, batch = LinearModel(), make_batch(_COUNT)
    expected = run(model, batch).loss.detach()
    with torch.no_grad():
        assert torch.equal(run(model, batch, gradient=gradient).loss, expected)
    with torch.inference_mode():
        assert torch.equal(run(model, batch, gradient=gradient).loss, expected)


def test_the_report_of_a_constant_encoder_is_not_flattering() -> None:
    model, batch = LinearModel(), make_batch(_COUNT)
    with torch.no_grad():
        model.encoder.weight.zero_()
    terms = run(model, batch)
    assert float(terms.loss.detach()) == 0
    assert float(terms.var_z) == 0
    assert float(terms.relative) == 1
    assert not any(term.requires_grad for term in (terms.var_z, terms.relative))


def test_conformation_intervention_asks_the_pose_alone() -> None:
    model, batch = LinearModel(infers_pose=True), make_batch(_COUNT)
    order = torch.arange(_COUNT).roll(3)
    inference = model.infer(batch)
    terms = conformation_intervention(model.infer, model.generate, batch, inference, order)
    assert inference.pose is not None
    pose = Pose(inference.pose.rotation.detach(), batch["translation"])
    images = model.generate(inference.mean[order].detach(), pose, batch)
    again = model.infer(cast(ParticleBatch, {**batch, "images": images})).pose
    assert again is not None
    expected = (again.rotation - pose.rotation).square().sum((1, 2)).mean() / 4
    torch.testing.assert_close(terms.loss, expected)
    assert terms.conformation is None
    assert terms.pose is not None
    distance = RoundTripDistance(ContrastiveDistance())
    both = conformation_intervention(model.infer, model.generate, batch, inference, order, distance)
    assert both.conformation is not None
    torch.testing.assert_close(both.loss, expected + both.conformation)


def test_a_model_that_infers_no_pose_has_none_to_move() -> None:
    model, batch = LinearModel(), make_batch(_COUNT)
    with pytest.raises(ValueError, match="tests the inferred pose, and this model infers none"):
        conformation_intervention(
            model.infer, model.generate, batch, model.infer(batch), torch.arange(_COUNT)
        )


def test_own_poses_are_the_inferred_ones_or_else_the_batchs() -> None:
    batch = make_batch(_COUNT)
    known = own_pose(batch, LinearModel().infer(batch))
    assert torch.equal(known.rotation, batch["rotation"])
    assert known.translation is not None
    assert torch.equal(known.translation, batch["translation"])
    inference = LinearModel(infers_pose=True).infer(batch)
    assert inference.pose is not None
    inferred = own_pose(batch, inference)
    assert torch.equal(inferred.rotation, inference.pose.rotation)
    assert not inferred.rotation.requires_grad
    assert inferred.translation is not None
    assert torch.equal(inferred.translation, batch["translation"])
    shifted = inference._replace(pose=Pose(inferred.rotation, torch.ones(_COUNT, 2)))
    own = own_pose(batch, shifted).translation
    assert own is not None
    assert own.eq(1).all()


def test_poses_must_come_from_somewhere() -> None:
    batch = make_batch(_COUNT)
    inference = LinearModel().infer(batch)
    del batch["rotation"]
    with pytest.raises(ValueError, match="the model infers none and the batch has no rotation"):
        own_pose(batch, inference)


def test_negative_pose_weight() -> None:
    with pytest.raises(ValueError, match="weight of the pose term must be >= 0, found -1"):
        RoundTripDistance(None, pose_weight=-1)


def test_half_precision_latents_are_compared_in_full() -> None:
    """Means just apart in bfloat16 keep their squared difference."""
    target = torch.full((4, 2), 1.0, dtype=torch.bfloat16)
    found = torch.full((4, 2), 1.0078125, dtype=torch.bfloat16)
    rotation = torch.eye(3).expand(4, 3, 3)
    batch = ParticleBatch(images=torch.zeros(4, 2, 2), index=torch.arange(4), rotation=rotation)
    terms = pose_intervention(
        lambda batch: Inference(found, found),  # noqa: ARG005
        lambda z, pose, batch: torch.zeros(4, 2, 2),  # noqa: ARG005
        batch,
        Inference(target, target),
        Pose(rotation),
    )
    assert terms.loss.dtype == torch.float32
    assert float(terms.loss) == 2 * 0.0078125**2
