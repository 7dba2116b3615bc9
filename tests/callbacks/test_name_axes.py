"""Named axes at the end of a training whose latents are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle.callbacks import NameAxes
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.types import Inference
from tests import tiny
from tests.callbacks import watched
from tests.labelled_latents import at_temperatures

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]
_COUNT = 400


class _TrueFactors(HeterogeneousReconstruction):
    """A model that knows the truth."""

    def infer(self, batch: Any) -> Inference:
        factors = batch["factors"].float()
        return Inference(factors, torch.full_like(factors, -8.0))


@pytest.mark.parametrize("frozen", [True, False])
def test_axes_by_temperature(
    frozen: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, kelvin = at_temperatures(frozen=frozen)
    np.savez(tmp_path / "labels.npz", factors=latents[:_COUNT], temperature=kelvin[:_COUNT])
    options = tiny.write_stack(tmp_path / "data", count=_COUNT)
    data = ParticleData(**(options | {"labels": tmp_path / "labels.npz", "batch_size": 100}))
    model = watched.make_model()
    model.__class__ = _TrueFactors
    watched.make_trainer(tmp_path, NameAxes(), max_epochs=1).fit(model, datamodule=data)
    words = (tmp_path / "axes/axes.txt").read_text()
    assert words.startswith(f"{'Determined' if frozen else 'Not determined'} by temperature")
    assert f"Axes: {words[:40]}" in " ".join(capsys.readouterr().out.split())
    with np.load(tmp_path / "axes/axes.npz") as axes, np.load(tmp_path / "axes/latents.npz") as z:
        assert axes["by"] == "temperature"
        assert axes["ratio"][0] > 10 * axes["ratio"][1] or not frozen
        assert z["row"].tolist() == list(range(_COUNT))
        np.testing.assert_allclose(
            z["latents"], (latents[:_COUNT].numpy() - axes["offset"]) @ axes["matrix"].T, atol=1e-4
        )
    assert (tmp_path / "axes/motions.png").is_file()


def test_particles_that_can_not_be_judged_end_no_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    latents, _ = at_temperatures(frozen=True)
    np.savez(tmp_path / "labels.npz", factors=latents[:60], temperature=np.full(60, 300.0))
    options = tiny.write_stack(tmp_path / "data", count=60)
    data = ParticleData(**(options | {"labels": tmp_path / "labels.npz"}))
    model = watched.make_model()
    model.__class__ = _TrueFactors
    watched.make_trainer(tmp_path, NameAxes(), max_epochs=1).fit(model, datamodule=data)
    assert "Axes: not named: at least two temperatures" in capsys.readouterr().out
    assert not (tmp_path / "axes").exists()


def test_a_model_without_latents_is_refused(tmp_path: Path) -> None:
    trainer = watched.make_trainer(tmp_path, NameAxes())
    with pytest.raises(TypeError, match="NameAxes needs a model with infer"):
        NameAxes().setup(trainer, torch.nn.Identity(), "fit")  # type: ignore[arg-type]
