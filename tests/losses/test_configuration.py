"""Every option from a configuration file, and a run that uses them."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from torch import nn

from cryo_disentangle import losses
from cryo_disentangle.cli import main
from cryo_disentangle.losses import (
    DIPVAE,
    ConformationIntervention,
    FactorVAE,
    LinearSchedule,
    PoseIntervention,
    TotalCorrelation,
    UniformPoses,
)
from cryo_disentangle.losses.distances import ConformationDistance, PoseDistance
from cryo_disentangle.losses.pose_sources import PoseSource
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.protocols import Penalty
from tests import tiny

_EVERY_OPTION = """
penalties:
  pose:
    class_path: PoseIntervention
    init_args:
      weight:
        class_path: LinearSchedule
        init_args: {first: 0, last: 0.3, first_step: 4, last_step: 8}
      poses: {class_path: UniformPoses, init_args: {group: so2}}
      distance:
        class_path: WithVarianceFloor
        init_args:
          distance: {class_path: ContrastiveDistance, init_args: {temperature: 0.2}}
          floor: 0.4
          floor_weight: 2
      pose_distance: GeodesicDistance
      pose_weight: 0.5
      noise_std: {class_path: EstimatedNoise, init_args: {momentum: 0.9, particles: 8}}
      every_n_steps: 2
      fraction: 0.5
      gradient: encoder
      sampled_conformations: true
      seed: 3
  conformation:
    class_path: ConformationIntervention
    init_args:
      weight: 0.1
      pose_distance: ChordalDistance
      distance: RelativeDistance
      noise_std: 0.2
      every_n_steps: 3
      fraction: 0.25
      gradient: decoder
      seed: 4
  independence:
    class_path: TotalCorrelation
    init_args: {dataset_size: 1000, weight: 5, sampling: weighted, seed: 1}
  covariance:
    class_path: DIPVAE
    init_args: {weight: 2, diagonal: 1, variant: II}
  discriminator:
    class_path: FactorVAE
    init_args:
      conformation_dim: 2
      weight:
        class_path: CyclicSchedule
        init_args: {first: 0, last: 6, period: 10, cycles: 3, rising: 0.3}
      width: 16
      layers: 2
      seed: 5
"""
_KINDS = [PoseIntervention, ConformationIntervention, TotalCorrelation, DIPVAE, FactorVAE]


def parse(text: str) -> dict[str, Any]:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--penalties", type=Mapping[str, Penalty])
    made: dict[str, Any] = parser.instantiate(parser.parse_object(yaml.safe_load(text))).penalties
    return made


def test_every_option_of_every_penalty() -> None:
    options = yaml.safe_load(_EVERY_OPTION)["penalties"]
    made = parse(_EVERY_OPTION)
    for kind, name in zip(_KINDS, made, strict=True):
        assert type(made[name]) is kind
        assert set(options[name]["init_args"]) == set(inspect.signature(kind).parameters)
    pose = made["pose"]
    assert isinstance(pose, PoseIntervention)
    assert pose.weight == LinearSchedule(0.0, 0.3, 8, 4)
    assert pose.poses == UniformPoses("so2")
    assert (pose.every_n_steps, pose.fraction, pose.gradient) == (2, 0.5, "encoder")
    assert pose.sampled_conformations
    assert pose.draws.seed == 3
    assert made["covariance"].variant == "II"


_PARTS = ["ShuffledPoses", "InPlanePoses", "UniformPoses"]
_DISTANCES = [
    "SquaredDistance",
    "NormalizedDistance",
    "PosteriorDistance",
    "ContrastiveDistance",
    "RelativeDistance",
]


@pytest.mark.parametrize(
    ("key", "name"),
    [("poses", name) for name in _PARTS] + [("distance", name) for name in _DISTANCES],
)
def test_parts_by_their_short_names(key: str, name: str) -> None:
    text = {"penalties": {"pose": {"class_path": "PoseIntervention", "init_args": {key: name}}}}
    penalty = parse(yaml.safe_dump(text))["pose"]
    part = penalty.poses if key == "poses" else penalty.distance.conformation
    assert type(part) is getattr(losses, name)


@pytest.mark.parametrize(
    "protocol",
    [ConformationDistance, PoseDistance, PoseSource, Schedule],
)
def test_no_part_is_forgotten(protocol: type) -> None:
    public: list[Any] = [getattr(losses, name) for name in losses.__all__]
    parts = {kind.__name__ for kind in public if protocol in getattr(kind, "__mro__", ())}
    tested = {*_PARTS, *_DISTANCES} | {name for name in parts if name in _EVERY_OPTION}
    assert len(parts) > 1
    assert parts <= tested


def test_a_wrong_part_is_refused_by_name() -> None:
    text = "penalties: {pose: {class_path: PoseIntervention, init_args: {poses: DIPVAE}}}"
    with pytest.raises(Exception, match="DIPVAE"):
        parse(text)


def test_all_penalties_are_penalties_and_modules() -> None:
    for penalty in parse(_EVERY_OPTION).values():
        assert isinstance(penalty, ScheduledPenalty)
        assert isinstance(penalty, nn.Module)


@pytest.fixture
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def weights(run: Path) -> dict[str, torch.Tensor]:
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=False)["state_dict"]
    return {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}


@pytest.mark.usefixtures("_alone")
@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning")
@pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning")
def test_a_run_that_was_stopped_ends_with_the_weights_of_one_that_was_not(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=36)
    config = tiny.write_config(tmp_path, data, max_epochs=2, enable_progress_bar=False)
    content = yaml.safe_load(config.read_text())
    penalties = yaml.safe_load(_EVERY_OPTION)["penalties"]
    del penalties["conformation"]
    penalties["discriminator"]["init_args"]["weight"] = 1.0
    penalties["pose"]["init_args"]["weight"] = 0.1
    content["model"]["init_args"]["penalties"] = penalties
    config.write_text(yaml.safe_dump(content))
    for run, words in [("whole", []), ("stopped", ["--trainer.max_epochs=1"])]:
        root = f"--trainer.default_root_dir={tmp_path / run}"
        main(["fit", "--config", str(config), root, *words])
    main(["fit", "--config", str(config), root, "--ckpt_path", "last"])
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    assert any("discriminator" in name for name in whole)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert any(value > 0 for value in tiny.read_metrics(tmp_path / "whole", "train/pose"))
