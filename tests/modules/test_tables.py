"""Heterogeneous reconstruction with a table of latents in the encoder's place."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.encoders import InPlanePoseHead, LatentTable
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.types import ParticleBatch
from tests import tiny
from tests.small_model import COUNT, DIM, make_batch, make_model

_ROWS = 20


def make_table(**options: Any) -> Any:
    return make_model(encoder=LatentTable, **({"n_particles": _ROWS} | options))


def test_conformations_are_those_of_the_rows_whatever_the_image() -> None:
    model, batch = make_table(), make_batch()
    batch["index"] = torch.tensor([7, 0, 19, 7, 3])
    inference = model.infer(batch)
    table = model.encoder
    assert isinstance(table, LatentTable)
    assert table.mean.shape == (_ROWS, DIM)
    assert torch.equal(inference.mean, table.mean[batch["index"]])
    assert torch.equal(inference.log_variance, table.log_variance[batch["index"]])
    batch["images"] = batch["images"].flip(0)
    assert torch.equal(model.infer(batch).mean, inference.mean)


def test_a_pose_head_reads_images_beside_it() -> None:
    model, batch = make_table(pose_head=InPlanePoseHead), make_batch(ctf=False, translation=False)
    before = model.infer(batch)
    batch["images"] = batch["images"].flip(0)
    after = model.infer(batch)
    assert torch.equal(after.mean, before.mean)
    assert before.pose is not None
    assert after.pose is not None
    torch.testing.assert_close(after.pose.rotation, before.pose.rotation.flip(0), atol=1e-4, rtol=0)


def test_pairs_are_looked_up_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_table()
    monkeypatch.setattr(type(model), "log", lambda *_, **__: None)
    first: Any = make_batch()
    second: Any = make_batch()
    second["index"] = second["index"] + COUNT
    pairs: Any = {key: torch.stack([value, second[key]], 1) for key, value in first.items()}
    loss = model.training_step(pairs, 0)
    loss.backward()
    assert model.encoder.mean.grad[: 2 * COUNT].any(1).all()
    assert not model.encoder.mean.grad[2 * COUNT :].any()


def test_a_particle_beyond_the_table_is_refused() -> None:
    batch: ParticleBatch = make_batch()
    batch["index"] = batch["index"] + _ROWS
    with pytest.raises(ValueError, match=rf"the table holds {_ROWS} particles, found particle 20"):
        make_table().infer(batch)


def test_without_the_number_of_particles_there_is_no_table() -> None:
    with pytest.raises(ValueError, match=r"LatentTable has a row for each .* needs n_particles"):
        make_table(n_particles=None)


def test_a_table_reads_no_poses() -> None:
    with pytest.raises(ValueError, match="LatentTable reads rows of the stack and no poses"):
        make_table(encoder_reads_pose=True)


def test_a_table_in_a_configuration_file_is_trained_validated_and_predicts(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=40)
    config = tiny.write_config(tmp_path, data, max_epochs=2)
    content = yaml.safe_load(config.read_text())
    content["model"]["init_args"]["encoder"] = {"class_path": "LatentTable"}
    config.write_text(yaml.safe_dump(content))
    tiny.call("fit", "--config", config)
    run = tmp_path / "run"
    words: list[str | Path] = ["--config", run / "config.yaml"]
    words += ["--ckpt_path", run / "checkpoints/last.ckpt"]
    tiny.call("predict", *words)

    assert all(np.isfinite(tiny.read_metrics(run, "val/reconstruction")))
    saved = torch.load(run / "checkpoints/last.ckpt", weights_only=False)["state_dict"]
    assert saved["encoder.mean"].shape == (40, 2)
    split = ParticleData(**data).split
    variance = saved["encoder.log_variance"]
    assert variance[split[0]].all()
    assert not variance[split[1]].any()  # held-out rows are where they began
    with (run / "prediction/z.pkl").open("rb") as file:
        assert np.array_equal(pickle.load(file), saved["encoder.mean"].numpy())

    other = tiny.write_stack(tmp_path / "other", count=41)
    words += [f"--data.{name}={other[name]}" for name in ("particles", "poses", "ctf")]
    expected = r"for encoder\.mean of shape \(41, 2\) it has shape \(40, 2\)"
    with pytest.raises(SystemExit, match=expected):
        tiny.call("predict", *words)
