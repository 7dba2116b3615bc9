"""Every option of the model from a configuration file, and trainings with pose heads."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonargparse import ArgumentParser
from torch import nn

from cryo_disentangle import decoders, encoders, priors
from cryo_disentangle.losses.schedules import weight_at
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from tests import tiny
from tests.callbacks import watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

_SMALL = {"width": 8, "layers": 1}
_LAWS: dict[str, dict[str, Any]] = {
    "LevelTable": {"conformation_dim": 2, "levels_kelvin": [280, 310], "learning_rate_scale": 5},
    "ArrheniusLaw": {
        "conformation_dim": 2,
        "coldest_kelvin": 280,
        "hottest_kelvin": 310,
        "learning_rate_scale": 5,
    },
}
_PRIORS: dict[str, dict[str, Any]] = {
    "StandardNormal": {},
    "GeneralizedNormal": {"exponent": 4},
    "LaplaceTransition": {
        "rate": 3,
        "gamma": 1,
        "symmetric": False,
        "learnable": True,
        "conformation_dim": 2,
        "reference_interval": 2,
        "power": 1,
        "learning_rate_scale": 5,
    },
    "TemperatureNormal": {
        "law": {"class_path": "ArrheniusLaw", "init_args": _LAWS["ArrheniusLaw"]}
    },
    "Boltzmann": {
        "conformation_dim": 2,
        "reference_kelvin": 290,
        "kernels": 9,
        "half_width": 3,
        "learning_rate_scale": 5,
    },
}
_NETWORKS: dict[str, dict[str, Any]] = {
    "MLPEncoder": {**_SMALL, "activation": "leaky_relu"},
    "LatentTable": {},
    "InPlanePoseHead": {**_SMALL, "hypotheses": 2, "activation": "leaky_relu"},
    "PoseHead": {**_SMALL, "hypotheses": 3, "activation": "leaky_relu"},
    "RenderedPosterior": {"grid": [-1.0, 1.0], "starts": 2, "newton_steps": 5},
}


def part(name: str, options: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"class_path": name, "init_args": options or {}}


def options_of(kind: type) -> set[str]:
    """Names of a class's options; a module without any inherits a signature of anything."""
    return set(inspect.signature(kind).parameters) - {"args", "kwargs"}


def build(**options: Any) -> HeterogeneousReconstruction:
    """Makes a model as a configuration file does."""
    small = {
        "box_size": tiny.BOX_SIZE,
        "conformation_dim": 2,
        "encoder": part("MLPEncoder", _SMALL),
        "decoder": part("BasisDecoder", {"rank": 2, "hidden": 8, "layers": 1}),
    }
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--model", type=HeterogeneousReconstruction)
    parsed = parser.parse_object({"model": part("HeterogeneousReconstruction", small | options)})
    model: HeterogeneousReconstruction = parser.instantiate(parsed).model
    return model


def classes(room: Any) -> dict[str, Any]:
    """Public classes of a room that a configuration file would name."""
    named = {name: getattr(room, name) for name in room.__all__}
    return {name: kind for name, kind in named.items() if inspect.isclass(kind)}


@pytest.mark.parametrize("name", _PRIORS)
def test_priors(name: str) -> None:
    kind = getattr(priors, name)
    assert set(_PRIORS[name]) == options_of(kind)
    assert type(build(prior=part(name, _PRIORS[name])).prior) is kind


@pytest.mark.parametrize("name", _LAWS)
def test_laws_of_temperature(name: str) -> None:
    kind = getattr(priors, name)
    assert set(_LAWS[name]) == options_of(kind)
    prior: Any = build(prior=part("TemperatureNormal", {"law": part(name, _LAWS[name])})).prior
    assert type(prior.law) is kind


@pytest.mark.parametrize("name", ["InPlanePoseHead", "PoseHead"])
def test_pose_heads(name: str) -> None:
    kind = getattr(encoders, name)
    assert {*_NETWORKS[name], "coefficients"} == options_of(kind)
    head: Any = build(pose_head=part(name, _NETWORKS[name])).pose_head
    assert type(head) is kind
    proposed = head(torch.zeros(2, len(build().disc)))
    assert proposed.shape == (2, _NETWORKS[name]["hypotheses"], 3, 3)


def test_a_table_of_latents() -> None:
    encoder: Any = build(encoder=part("LatentTable"), n_particles=7).encoder
    assert encoder.mean.shape == (7, 2)


@pytest.mark.parametrize(
    "weight",
    [
        0.5,
        part("LinearSchedule", {"first": 0.0, "last": 1.0, "first_step": 2, "last_step": 4}),
        part("CyclicSchedule", {"first": 0, "last": 1, "period": 4, "cycles": 2, "rising": 0.5}),
    ],
)
def test_weights_of_the_divergence(weight: Any) -> None:
    assert weight_at(build(kl_weight=weight)._kl_weight, 0) == (0.5 if weight == 0.5 else 0)


def test_warm_up_and_pose_reading() -> None:
    model = build(conformation_warmup=400, encoder_reads_pose=True)
    assert model.conformation_warmup == 400
    assert model.encoder_reads_pose


def test_the_search_by_rendering() -> None:
    options = _NETWORKS["RenderedPosterior"]
    sizes = {"n_coefficients", "conformation_dim"}
    assert {*options, *sizes} == options_of(encoders.RenderedPosterior)
    encoder: Any = build(encoder=part("RenderedPosterior", options)).encoder
    assert (len(encoder.points), encoder.starts, encoder.newton_steps) == (4, 2, 5)


def test_no_part_is_forgotten() -> None:
    assert set(classes(priors)) == {*_PRIORS, *_LAWS}
    # A model of statistics has its own encoder.
    assert set(classes(encoders)) - {"StatisticsEncoder"} == set(_NETWORKS)
    assert {"BasisDecoder", "ImplicitDecoder"} <= set(classes(decoders))


@pytest.mark.parametrize(
    ("head", "group"), [("InPlanePoseHead", "so2"), ("PoseHead", "so3")], ids=["SO(2)", "SO(3)"]
)
def test_poses_are_inferred_in_training(tmp_path: Path, head: str, group: str) -> None:
    intervention = {
        "weight": part("LinearSchedule", {"first": 0.0, "last": 0.1, "last_step": 6}),
        "poses": part("UniformPoses", {"group": group}),
        "noise_std": part("EstimatedNoise", {"particles": 4}),
    }
    model = build(
        pose_head=part(head, _NETWORKS[head]),
        conformation_warmup=3,
        penalties={
            "pose_intervention": part("PoseIntervention", intervention),
            "conformation_intervention": part("ConformationIntervention"),
        },
        optimizer=part("torch.optim.Adam", {"lr": 1e-3}),
    )
    before = [parameter.detach().clone() for parameter in _parameters(model.pose_head)]
    options = tiny.write_stack(tmp_path / "data", count=40)
    data = ParticleData(**options)
    trainer = watched.make_trainer(tmp_path)
    trainer.fit(model, datamodule=data)
    assert any(
        not torch.equal(old, new)
        for old, new in zip(before, _parameters(model.pose_head), strict=True)
    )
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())
    logged = trainer.callback_metrics
    names = ("pose_intervention", "pose_intervention/pose", "conformation_intervention/pose")
    assert all(float(logged[f"train/{name}"]) > 0 for name in names)
    found = model.infer(next(iter(data.predict_dataloader()))).pose
    assert found is not None
    unit = found.rotation @ found.rotation.mT
    torch.testing.assert_close(unit, torch.eye(3).expand_as(unit), atol=1e-5, rtol=0)


def _parameters(module: nn.Module | None) -> list[nn.Parameter]:
    assert module is not None
    return list(module.parameters())
