"""Identifiability while a model is trained, and in words at the end of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.callbacks import IdentifiabilityCheck, RunReport
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.types import Inference
from tests import tiny
from tests.callbacks import watched
from tests.labelled_latents import at_temperatures, frames

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


def true_factors(_: Any, batch: Any) -> tuple[Tensor, Tensor]:
    factors = batch["factors"].float()
    return factors, torch.full_like(factors, -8.0)


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
    with pytest.raises(ValueError, match="at least 100 particles, found 99"):
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
    assert rows["temperature, verdict"].startswith("Determined by temperature")
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
    assert rows["slowness, verdict"].startswith("Determined by time")
    assert rows["latent coordinates in use"] == 2
