"""Two processes on the CPU do what one does."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.particles.pickles import read_latents
from tests import tiny
from tests.forked import alone

# 47 training and 27 validation particles: neither batches nor processes divide them.
_PARTICLES, _FRACTION = 74, 0.365
_TWO = (
    "--trainer.devices=2",
    "--trainer.strategy=ddp",
    "--trainer.accelerator=cpu",
    "--trainer.enable_progress_bar=false",
)


def run_module(words: list[str]) -> None:
    """What an interpreter does with ``-m cryo_disentangle``, which Lightning starts another by."""
    sys.argv[1:] = words
    runpy.run_module("cryo_disentangle", run_name="__main__", alter_sys=True)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes, the second of which Lightning starts."""
    folder = tmp_path_factory.mktemp("ddp")
    data = tiny.write_stack(folder / "data", count=_PARTICLES)
    config = tiny.write_config(folder, data | {"validation_fraction": _FRACTION, "batch_size": 5})
    report = "--trainer.callbacks=[{class_path: RunReport, init_args: {particles: 100}}]"
    alone(run_module, ["fit", "--config", str(config), report, *_TWO])
    return folder


def from_checkpoint(trained: Path, stage: str, out: Path, *words: str, two: bool = False) -> Path:
    """Runs a stage on the trained weights, in one process or two, into a folder of its own."""
    config, checkpoint = trained / "run.yaml", trained / "run/checkpoints/last.ckpt"
    options = (f"--ckpt_path={checkpoint}", f"--trainer.default_root_dir={out}")
    run = tiny.succeed_together if two else tiny.call
    run(stage, "--config", config, *options, *words, *(_TWO if two else ()))
    return out


def test_training_with_uneven_counts(trained: Path) -> None:
    losses = tiny.read_metrics(trained / "run", "train/loss")
    # Five steps an epoch: each process has 23 or 24 particles, in batches of 5.
    assert len(losses) == 15
    assert np.isfinite(losses).all()
    assert (trained / "run/checkpoints/last.ckpt").is_file()


def test_the_first_process_writes_the_report(trained: Path) -> None:
    report = json.loads((trained / "run/report/report.json").read_text())
    assert "share of z due to noise in images" in report


def test_validation_is_that_of_one_process(trained: Path, tmp_path: Path) -> None:
    one = from_checkpoint(trained, "validate", tmp_path / "one")
    two = from_checkpoint(trained, "validate", tmp_path / "two", two=True)
    for name in ("val/loss", "val/reconstruction", "val/kl"):
        (expected,), (found,) = tiny.read_metrics(one, name), tiny.read_metrics(two, name)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-6), name


def test_prediction_is_that_of_one_process(trained: Path, tmp_path: Path) -> None:
    words = ("--prediction.kmeans=0",)
    one = from_checkpoint(trained, "predict", tmp_path / "one", *words) / "prediction"
    two = from_checkpoint(trained, "predict", tmp_path / "two", *words, two=True) / "prediction"
    with np.load(two / "latents.npz") as archive:
        assert archive["index"].tolist() == list(range(_PARTICLES))
    (mean, log_variance), expected = read_latents(two / "z.pkl"), read_latents(one / "z.pkl")
    assert log_variance is not None
    assert expected[1] is not None
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log_variance, expected[1], rtol=1e-5, atol=1e-6)
