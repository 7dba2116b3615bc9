"""The command line's commands on a device that is not the CPU and, as Apple's, has no float64."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cryo_disentangle.cli import main
from tests import tiny
from tests.fake_device import FakeDevice, Seen, is_available
from tests.fake_trainer import ON_DEVICE

pytestmark = [
    pytest.mark.skipif(not is_available(), reason="torch before 2.10 has no such backend"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*smaller than the logging interval:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]
_STEPS = 20
Waits = dict[tuple[str, str, str], int]


def call(*words: str | Path) -> Seen:
    """Runs a command on the device."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(sys.argv))
        for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "0")
        patch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
        patch.setenv("CRYO_DISENTANGLE_TRACEBACK", "1")
        with FakeDevice(float64=False) as seen:
            main([str(word) for word in words])
    return seen


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Waits]:
    """Folder of a run of one epoch, and what its training steps waited for."""
    folder = tmp_path_factory.mktemp("trained")
    data = tiny.write_stack(folder / "data", count=25 * _STEPS // 2)
    config = tiny.write_config(folder, data, max_epochs=1)
    # Nothing is logged before the epoch ends.
    rare = ["--trainer.log_every_n_steps", "1000", "--guard.skip", "true"]
    return folder / "run", call("fit", "--config", config, *ON_DEVICE, *rare).waits("step: ")


def test_no_training_step_of_a_run_waits(
    trained: tuple[Path, Waits],
) -> None:
    # What is made, looked at or shown once an epoch is found fewer times than there are steps.
    # Lightning's own lines, "elsewhere", bring each batch to the device.
    often = {
        key: count
        for key, count in trained[1].items()
        if count >= _STEPS and not (key[0] == "h2d" and key[1].endswith("elsewhere"))
    }
    assert not often
    assert sum(count for key, count in trained[1].items() if key[0] == "sync") == 2


def test_what_a_run_logs_is_there(trained: tuple[Path, Waits]) -> None:
    assert len(tiny.read_metrics(trained[0], "val/loss")) == 1


def test_a_run_is_used_on_the_device(trained: tuple[Path, Waits], tmp_path: Path) -> None:
    run = trained[0]
    # The fake device's tensors can't be those of inference mode.
    call(
        "predict", "--config", run / "config.yaml", *ON_DEVICE, "--trainer.inference_mode", "false"
    )
    assert any((run / "prediction").iterdir())
    call("export", run, "--out", tmp_path / "export", "--device", "gpu:0")
    assert (tmp_path / "export/weights.pkl").exists()


@pytest.mark.parametrize("inference", ["run", "statistics", "rendering"])
def test_a_run_is_judged_on_the_device(
    trained: tuple[Path, Waits],
    tmp_path: Path,
    inference: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cryo_disentangle.evaluation.figures._TURNED_BY_RENDERING", 4)
    words = ["--device", "gpu:0", "--sample", "12", "--resamples", "0", "--states", "0"]
    words += ["--inference", inference]
    words += ["--minutes", "0.01", "--radius", "2"] if inference == "rendering" else []
    call("evaluate", trained[0], "--out", tmp_path, *words)
    found = json.loads((tmp_path / "metrics.json").read_text())
    assert found["run"]["inference"] == inference
