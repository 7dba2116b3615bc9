"""From real stacks to volumes through the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.files import read_volume
from cryo_disentangle.particles.pickles import read_latents
from tests.forked import forked
from tests.helpers import shared

DATA = "data/cryodrgn_tests"
STACKS = {
    "hand": {"particles": "hand.mrcs", "poses": "hand_rot_trans.pkl"},
    "toy": {
        "particles": "toy_projections.mrcs",
        "poses": "toy_rot_trans.pkl",
        "ctf": "test_ctf.pkl",
    },
}
TILTS = {"particles": "sta_testing_bin8.star", "poses": "sta_pose.pkl", "ctf": "sta_ctf.pkl"}


def ended(*words: str) -> tuple[int, str]:
    """The exit status of a command, and what it said."""
    with forked(main, words) as process:
        return process.wait(), "".join(process.said())


def command(*words: str) -> None:
    status, said = ended(*words)
    assert status == 0, said


def options(run: Path, files: dict[str, str]) -> list[str]:
    words = [
        f"--trainer.default_root_dir={run}",
        "--trainer.accelerator=cpu",
        "--model=HeterogeneousReconstruction",
        "--model.conformation_dim=2",
        "--model.encoder=MLPEncoder",
        "--model.encoder.width=32",
        "--model.decoder=ImplicitDecoder",
        "--model.decoder.width=32",
        "--model.optimizer=torch.optim.Adam",
        "--model.optimizer.lr=2e-3",
        "--data=ParticleData",
        "--data.batch_size=16",
    ]
    return words + [f"--data.{key}={shared(f'{DATA}/{name}')}" for key, name in files.items()]


@pytest.mark.parametrize("name", list(STACKS))
def test_a_real_stack_becomes_latents_and_volumes(name: str, tmp_path: Path) -> None:
    words = options(tmp_path, STACKS[name])
    epochs = 6 if name != "toy" else 2
    command(
        "fit",
        *words,
        f"--trainer.max_epochs={epochs}",
        "--trainer.callbacks+=RunReport",
        "--trainer.callbacks.particles=100",
    )
    with next(tmp_path.glob("metrics/*/metrics.csv")).open() as file:
        losses = [float(row["val/loss"]) for row in csv.DictReader(file) if row["val/loss"]]
    assert len(losses) == epochs
    assert losses[-1] < losses[0]
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["held-out reconstruction"] <= losses[0]

    checkpoint = tmp_path / "checkpoints/last.ckpt"
    command("predict", *words, f"--ckpt_path={checkpoint}", "--prediction.kmeans=2")
    mean, log_variance = read_latents(tmp_path / "prediction/z.pkl")
    assert log_variance is not None
    assert mean.shape == log_variance.shape
    with np.load(tmp_path / "prediction/latents.npz") as latents:
        np.testing.assert_array_equal(latents["mean"], mean)
        np.testing.assert_array_equal(latents["index"], np.arange(len(mean)))
    volume, pixel_size = read_volume(tmp_path / "prediction/volumes/vol_002.mrc")
    assert len(set(volume.shape)) == 1
    assert pixel_size is not None
    assert np.isfinite(volume).all()
    assert volume.std() > 0


def test_tilts_of_ribosomes_are_no_single_particles(tmp_path: Path) -> None:
    status, said = ended("fit", *options(tmp_path, TILTS))
    assert status == 1
    assert "each _rlnGroupName is a series of images of one particle" in said
