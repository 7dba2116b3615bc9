"""Heterogeneous reconstruction whose conformations are found by rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import InPlanePoseHead, RenderedPosterior
from cryo_disentangle.geometry import random_rotations
from cryo_disentangle.types import Pose
from tests import tiny
from tests.small_model import DIM, make_batch, make_model


def make_rendering(**options: Any) -> Any:
    """A model with random volumes and little noise."""
    torch.manual_seed(0)
    model: Any = make_model(encoder=RenderedPosterior, decoder=BasisDecoder, **options)
    with torch.no_grad():
        model.decoder.coefficients.normal_()
    model.encoder.noise_variance.fill_(1e-3)
    return model.eval()


@pytest.mark.parametrize("radius", [None, 5, -1])
def test_conformations_are_found_again_from_any_direction(radius: int | None) -> None:
    model, batch = make_rendering(encoder_radius=radius), make_batch()
    count = len(batch["index"])
    truth = 0.5 * torch.randn(count, DIM, generator=torch.Generator().manual_seed(1))
    for seed in range(3):
        rotation = random_rotations(count, generator=torch.Generator().manual_seed(seed))
        pose = Pose(rotation, batch["translation"])
        images = model.generate(truth, pose, batch)
        found = model.infer({**batch, "rotation": rotation, "images": images})
        torch.testing.assert_close(found.mean, truth, atol=0.02, rtol=0)
        assert (found.log_variance < -3).all()


def test_the_loss_teaches_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    model, batch = make_rendering(), make_batch()
    monkeypatch.setattr(type(model), "log", lambda *_, **__: None)
    model.train().training_step(batch, 0).backward()
    assert model.decoder.coefficients.grad.abs().max() > 0
    assert float(model.encoder.noise_variance) != pytest.approx(1e-3)


def test_it_needs_known_poses() -> None:
    with pytest.raises(ValueError, match="RenderedPosterior renders from known poses"):
        make_model(encoder=RenderedPosterior, pose_head=InPlanePoseHead)
    with pytest.raises(ValueError, match="nothing to set encoder_reads_pose for"):
        make_model(encoder=RenderedPosterior, encoder_reads_pose=True)
    batch: Any = make_batch()
    del batch["rotation"]
    with pytest.raises(ValueError, match="have no poses"):
        make_rendering().infer(batch)


def test_it_is_trained_from_a_configuration_file_and_predicts(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=40)
    config = tiny.write_config(tmp_path, data, max_epochs=2)
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"] |= {
        "encoder": {"class_path": "RenderedPosterior", "init_args": {"grid": [-1.0, 0.0, 1.0]}},
        "decoder": {"class_path": "BasisDecoder"},
    }
    config.write_text(yaml.safe_dump(content))
    tiny.call("fit", "--config", config)
    run = tmp_path / "run"
    words: list[str | Path] = ["--config", run / "config.yaml"]
    words += ["--ckpt_path", run / "checkpoints/last.ckpt"]
    tiny.call("predict", *words)
    assert all(np.isfinite(tiny.read_metrics(run, "val/reconstruction")))
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert 0 < float(saved["encoder.noise_variance"]) < 1
