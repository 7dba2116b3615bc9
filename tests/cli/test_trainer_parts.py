"""Lightning's own parts in a run of the command line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import yaml

from tests import tiny

QUIET = ("--trainer.enable_progress_bar=false", "--trainer.num_sanity_val_steps=0")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    return tiny.write_config(folder, tiny.write_stack(folder / "data", count=40), max_epochs=1)


def fit(config: Path, folder: Path, *words: str) -> None:
    tiny.call("fit", "--config", config, "--trainer.default_root_dir", folder, *QUIET, *words)


def test_a_run_overfits_with_validation(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path, "--trainer.overfit_batches=2")
    assert len(tiny.read_metrics(tmp_path, "val/loss")) == 1


def test_a_run_without_checkpoints(config: Path, tmp_path: Path) -> None:
    fit(config, tmp_path, "--trainer.enable_checkpointing=false")
    assert len(tiny.read_metrics(tmp_path, "val/loss")) == 1
    assert not list(tmp_path.rglob("*.ckpt"))


def test_a_logger_asks_for_its_folder(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        fit(config, tmp_path, "--trainer.logger=CSVLogger")
    said = capsys.readouterr().err
    assert "CSVLogger needs a folder, found none: give --trainer.logger.save_dir FOLDER" in said
    words = ("--trainer.logger=CSVLogger", f"--trainer.logger.save_dir={tmp_path}")
    fit(config, tmp_path, *words, "--trainer.logger.name=own")
    (table,) = tmp_path.glob("own/version_*/metrics.csv")
    with table.open() as file:
        assert any(row["train/loss"] for row in csv.DictReader(file))


@pytest.mark.parametrize("schedule", [False, True])
def test_a_learning_rate_is_found(config: Path, tmp_path: Path, *, schedule: bool) -> None:
    words = ["--trainer.callbacks=LearningRateFinder", "--trainer.callbacks.num_training_steps=20"]
    words += ["--trainer.callbacks+=LearningRateMonitor", "--trainer.max_epochs=10"]
    if schedule:
        words.append("--model.lr_scheduler=torch.optim.lr_scheduler.ExponentialLR")
        words.append("--model.lr_scheduler.gamma=0.5")
    fit(config, tmp_path, *words)
    rates = [rate for name in ("lr-Adam",) for rate in tiny.read_metrics(tmp_path, name)]
    assert rates[0] != pytest.approx(3e-3)
    assert rates[-1] == pytest.approx(rates[0] * (0.5**9 if schedule else 1))


def test_a_batch_size_is_found(config: Path, tmp_path: Path) -> None:
    words = ("--trainer.callbacks=BatchSizeFinder", "--trainer.callbacks.max_trials=3")
    fit(config, tmp_path, *words, "--trainer.callbacks.init_val=4")
    # 4, 8, 16: of 32 particles two steps.
    assert len(tiny.read_metrics(tmp_path, "train/loss")) == 2
    saved = yaml.safe_load((tmp_path / "config.yaml").read_text())
    assert saved["data"]["init_args"]["batch_size"] == 10
