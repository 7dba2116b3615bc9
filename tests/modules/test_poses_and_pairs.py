"""Heterogeneous reconstruction with inferred poses, a warm-up, and pairs of frames."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.losses import PoseIntervention
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.small_model import COUNT, DIM, make_batch, make_model


class _Proposals(nn.Module):
    """A pose head that proposes fixed rotations."""

    def __init__(self, proposed: Tensor) -> None:
        super().__init__()
        self.proposed = nn.Parameter(proposed)

    def forward(self, coefficients: Tensor) -> Tensor:
        assert len(coefficients) == len(self.proposed)
        return self.proposed


@pytest.fixture(autouse=True)
def logged(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What modules log, without a trainer."""
    values: dict[str, Any] = {}

    def log(_: nn.Module, name: str, value: Tensor, **__: object) -> None:
        values[name] = value

    monkeypatch.setattr(HeterogeneousReconstruction, "log", log)
    return values


@pytest.mark.parametrize("ctf", [True, False])
def test_of_several_poses_the_one_that_renders_the_image_is_taken(ctf: bool) -> None:
    batch = make_batch(ctf=ctf)
    wrong = random_rotations(2 * COUNT, generator=torch.Generator().manual_seed(7))
    proposed = torch.stack([wrong[:COUNT], batch["rotation"], wrong[COUNT:]], dim=1)
    model = make_model(pose_head=lambda _: _Proposals(proposed))
    # So that the image tells the pose, it is the model's own.
    with torch.no_grad():
        z = torch.zeros(COUNT, DIM)
        pose = Pose(batch["rotation"], batch["translation"])
        batch["images"] = model.generate(z, pose, batch)
    inferred = model.infer(batch).pose
    assert inferred is not None
    torch.testing.assert_close(inferred.rotation, batch["rotation"])
    assert inferred.translation is batch["translation"]
    del batch["rotation"]
    model.training_step(batch, 0).backward()
    gradient = model.get_parameter("pose_head.proposed").grad
    assert gradient is not None
    assert gradient[:, 1].abs().sum() > 0
    assert not gradient[:, [0, 2]].any()


def test_predicts_the_poses_that_it_infers() -> None:
    batch = make_batch(translation=False)
    model = make_model(pose_head=lambda _: _Proposals(batch["rotation"][:, None]))
    predicted = model.predict_step(batch, 0)
    torch.testing.assert_close(predicted["rotation"], batch["rotation"])
    assert not predicted["translation"].any()


def test_the_warm_up_is_homogeneous_and_trains_every_parameter() -> None:
    model = make_model(conformation_warmup=3)
    model.on_fit_start()
    batch = make_batch()
    assert not model.infer(batch).mean.any()
    torch.manual_seed(0)
    loss = model.training_step(batch, 0)
    torch.manual_seed(1)
    torch.testing.assert_close(model.training_step(batch, 0), loss)  # no draw matters
    loss.backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert all(parameter.grad is not None for parameter in trained)
    model.on_fit_end()
    assert model.infer(batch).mean.abs().sum() > 0


def test_an_encoder_can_read_the_pose() -> None:
    model = make_model(encoder_reads_pose=True)
    batch = make_batch()
    before = model.infer(batch).mean
    batch["rotation"] = batch["rotation"].flip(0)
    assert not torch.allclose(model.infer(batch).mean, before)
    del batch["rotation"]
    with pytest.raises(ValueError, match="the particles have no poses"):
        model.infer(batch)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"conformation_warmup": -1}, "conformation_warmup must not be negative, found -1"),
        (
            {"encoder_reads_pose": True, "pose_head": lambda _: nn.Identity()},
            r"an encoder can't read the pose \(encoder_reads_pose\) that it infers",
        ),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model(**options)


class _OfPairs(StandardNormal):
    """A prior that asserts that it sees pairs."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:
        assert inference.mean.shape[:2] == batch["index"].shape == (COUNT, 2)
        return super().kl(inference, batch)


class _PairPenalty(nn.Module):
    """A penalty that keeps a term."""

    def forward(
        self, model: LatentImageModel, batch: ParticleBatch, inference: Inference
    ) -> Tensor:
        assert isinstance(model, LatentImageModel)
        assert inference.mean.shape[:2] == batch["index"].shape
        self.terms = {"drift": inference.mean.diff(dim=1).square().mean().detach()}
        return 0.5 * self.terms["drift"]


def test_a_pair_is_two_particles_to_all_but_priors_and_penalties(logged: dict[str, Any]) -> None:
    first, second = make_batch(), make_batch()
    second["images"] = second["images"].flip(0)
    pairs = {key: torch.stack([first[key], second[key]], 1) for key in first}  # type: ignore[literal-required]
    model = make_model(prior=_OfPairs(), penalties={"slow": _PairPenalty()})
    model.validation_step(pairs, 0)  # type: ignore[arg-type]
    plain = make_model()
    expected = (
        plain.loss_terms(first, step=0, sample=False),
        plain.loss_terms(second, step=0, sample=False),
    )
    mean = (expected[0]["kl"] + expected[1]["kl"]) / 2
    torch.testing.assert_close(logged["val/kl"].compute(), mean)
    assert logged["val/kl"].weight == 2 * COUNT
    model.training_step(pairs, 0)  # type: ignore[arg-type]
    torch.testing.assert_close(logged["train/slow"], 0.5 * logged["train/slow/drift"])


def test_a_lone_particle_goes_without_penalties(logged: dict[str, Any]) -> None:
    batch = make_batch()
    lone = {key: value[:1] for key, value in batch.items()}  # type: ignore[index]
    model = make_model(penalties={"intervention": PoseIntervention(0.3)})
    model.training_step(batch, 0)
    assert "train/intervention/relative" in logged
    logged.clear()
    model.training_step(lone, 1)  # type: ignore[arg-type]
    assert not any("intervention" in name and "/" not in name[6:] for name in logged)
    assert "train/loss" in logged
