"""Identifiability while a model is trained, and in words at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.callbacks import IdentifiabilityCheck, RunReport
from cryo_disentangle.callbacks.identifiability import judge_identifiability
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.types import Inference
from tests import tiny
from tests.callbacks import watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

_COUNT = 1500


class _Known:
    """A model to which conformations, and how sure it is of them, are known."""

    def __init__(self, latents: Tensor, log_variance: float | Tensor = -3.0) -> None:
        self.latents, self.log_variance = latents, torch.as_tensor(log_variance)
        self.asked = 0

    def infer(self, batch: Any) -> Inference:
        self.asked += 1
        mean = self.latents[batch["index"]]
        return Inference(mean, self.log_variance.expand_as(mean).float())


def batches(samples: int = _COUNT, **more: Tensor) -> Iterator[Any]:
    """Batches of 100; tensors of more than one axis are those of pairs."""
    whole = {"index": torch.arange(_COUNT), **more}
    for start in range(0, samples, 100):
        yield {key: value[start : start + 100] for key, value in whole.items()}


def at_temperatures(*, frozen: bool) -> tuple[Tensor, Tensor]:
    """Latents of two mixed motions, and their temperatures."""
    generator = torch.Generator().manual_seed(0)
    kelvin = torch.tensor([150.0, 220.0, 300.0])[torch.arange(_COUNT) % 3]
    factors = torch.randn(_COUNT, 2, generator=generator) * (kelvin / 300).sqrt()[:, None]
    if frozen:
        factors[kelvin < 200, 1] *= 0.1
    return factors @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), kelvin


def frames(*, sparse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, indices and times of pairs of frames."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(_COUNT // 2, 2, generator=generator)
    step = 0.3 * torch.randn(_COUNT // 2, 2, generator=generator)
    if sparse:
        step = step.abs() ** 2 * step.sign()
    index = torch.arange(_COUNT).reshape(-1, 2)
    return torch.stack([first, first + step], 1).flatten(0, 1), index, index.float() % 2


@pytest.mark.parametrize("frozen", [True, False])
def test_temperatures(frozen: bool) -> None:
    latents, kelvin = at_temperatures(frozen=frozen)
    found = judge_identifiability(_Known(latents), batches(temperature=kelvin))
    assert list(found) == ["temperature"]
    words, scores = found["temperature"]
    assert scores["identifiable"] == frozen
    assert words.startswith("Identifiable" if frozen else "Not identifiable")
    assert (scores["smallest_separation"] > 1) == frozen
    assert scores["rank"] <= scores["required_rank"]


@pytest.mark.parametrize("sparse", [True, False])
def test_pairs_of_frames(sparse: bool) -> None:
    latents, index, time = frames(sparse=sparse)
    samples = batches(_COUNT // 2, index=index, time=time)
    found = judge_identifiability(_Known(latents), samples)
    assert list(found) == ["slowness"]
    words, scores = found["slowness"]
    assert scores["identifiable"] == sparse
    assert words.startswith("Identifiable" if sparse else "Not identifiable")
    assert (scores["largest_exponent"] < 1.5) == sparse
    assert scores["largest_dependence"] < 0.2


def test_pairs_at_temperatures_are_judged_by_both() -> None:
    latents, index, time = frames(sparse=True)
    kelvin = at_temperatures(frozen=True)[1].reshape(-1, 2)
    samples = batches(_COUNT // 2, index=index, time=time, temperature=kelvin)
    assert set(judge_identifiability(_Known(latents), samples)) == {"slowness", "temperature"}


def test_single_particles_of_one_kind_are_not_looked_at() -> None:
    model = _Known(torch.randn(_COUNT, 2))
    assert not judge_identifiability(model, batches())
    assert not judge_identifiability(model, [])
    assert not model.asked


def test_coordinates_that_are_not_used_are_left_out() -> None:
    latents, kelvin = at_temperatures(frozen=True)
    more = torch.cat([latents, 0.01 * torch.randn(_COUNT, 2)], dim=1)
    spread = torch.tensor([-3.0, -3.0, 0.0, 0.0])
    plain = judge_identifiability(_Known(latents), batches(temperature=kelvin))
    assert judge_identifiability(_Known(more, spread), batches(temperature=kelvin)) == plain
    collapsed = judge_identifiability(_Known(more, 0.0), batches(temperature=kelvin))
    words, scores = collapsed["temperature"]
    assert "uses none of its latent coordinates" in words
    assert not scores


def test_what_can_not_be_judged_is_told() -> None:
    latents, _ = at_temperatures(frozen=True)
    kelvin = torch.full((_COUNT,), 300.0)
    words, scores = judge_identifiability(_Known(latents), batches(temperature=kelvin))[
        "temperature"
    ]
    assert words == "Can't be judged: at least two temperatures are needed, found [300.0]."
    assert not scores


def true_factors(_: Any, batch: Any) -> tuple[Tensor, Tensor]:
    factors = batch["factors"].float()
    return factors, torch.full_like(factors, -3.0)


@pytest.fixture
def labelled(tmp_path: Path) -> ParticleData:
    """Particles at three temperatures, whose latents are known."""
    latents, kelvin = at_temperatures(frozen=True)
    labels = tmp_path / "labels.npz"
    np.savez(labels, factors=latents[:400].numpy(), temperature=kelvin[:400].numpy())
    options = tiny.write_stack(tmp_path / "data", count=400)
    return ParticleData(**(options | {"labels": labels, "validation_fraction": 0.8}))


def test_the_callback_logs_numbers(tmp_path: Path, labelled: ParticleData) -> None:
    trainer = watched.make_trainer(tmp_path, IdentifiabilityCheck(infer=true_factors))
    trainer.fit(watched.make_model(), datamodule=labelled)
    found = trainer.callback_metrics
    assert found["identifiability/temperature/identifiable"] == 1
    assert found["identifiability/temperature/smallest_separation"] > 1
    assert not [name for name in found if "slowness" in name]


def test_the_callback_does_nothing_without_temperatures_and_pairs(tmp_path: Path) -> None:
    trainer = watched.make_trainer(tmp_path, IdentifiabilityCheck(), max_epochs=1)
    trainer.fit(watched.make_model(), datamodule=watched.make_data(tmp_path))
    assert not [name for name in trainer.callback_metrics if "identifiability" in name]


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 100 particles to look at, found 99"):
        IdentifiabilityCheck(particles=99)


class _TrueFactors(HeterogeneousReconstruction):
    """A model that knows the truth."""

    def infer(self, batch: Any) -> Inference:
        return Inference(*true_factors(self, batch))


def test_the_report_tells_in_words(
    tmp_path: Path, labelled: ParticleData, capsys: pytest.CaptureFixture[str]
) -> None:
    model = watched.make_model()
    model.__class__ = _TrueFactors
    watched.make_trainer(tmp_path, RunReport(), max_epochs=1).fit(model, datamodule=labelled)
    rows = json.loads((tmp_path / "report/report.json").read_text())
    assert rows["temperature, identifiable"] == 1
    assert rows["temperature, smallest separation"] > 1
    assert rows["temperature, verdict"].startswith("Identifiable")
    printed = " ".join(capsys.readouterr().out.split())
    assert f"temperature, verdict: {rows['temperature, verdict']}" in printed


def test_the_report_of_pairs(tmp_path: Path) -> None:
    latents, _, time = frames(sparse=True)
    count = 1200
    labels = tmp_path / "labels.npz"
    trajectory = np.arange(count) // 2
    np.savez(labels, factors=latents[:count], time=time.flatten()[:count], trajectory=trajectory)
    options = tiny.write_stack(tmp_path / "data", count=count)
    options |= {"labels": labels, "pairs": True, "validation_fraction": 0.5, "batch_size": 50}
    model = watched.make_model()
    model.__class__ = _TrueFactors
    watched.make_trainer(tmp_path, RunReport(), max_epochs=1).fit(
        model, datamodule=ParticleData(**options)
    )
    rows = json.loads((tmp_path / "report/report.json").read_text())
    assert rows["slowness, identifiable"] == 1
    assert rows["slowness, verdict"].startswith("Identifiable")
    assert rows["latent coordinates in use"] == 2
