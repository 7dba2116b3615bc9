"""A run that is killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from cryo_disentangle.cli import main
from tests import tiny
from tests.forked import forked

_PARTICLES, _EPOCHS = 300, 3
_STEPS = _PARTICLES * 8 // 10 // 10  # an epoch: a fifth is held out, batches of 10
_ENDED = 3 * _STEPS // 2 + 2  # in the middle of the second epoch, between checkpoints
_EVERY = (
    "--checkpoint.every_n_train_steps=5",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=20",
)


class Ending(Callback):
    """Sends a signal to its own process, always at the same step."""

    def __init__(self, number: int) -> None:
        self._number = number

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == _ENDED:
            os.kill(os.getpid(), self._number)


def load(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints/last.ckpt", weights_only=False)
    return state


def end_in_mid_epoch(
    number: signal.Signals, *words: str | Path, environment: Mapping[str, str] | None = None
) -> int:
    """Ends a run by a signal in the middle of its second epoch; returns its exit status."""
    ending = (
        f"--trainer.callbacks+={__name__}.Ending",
        f"--trainer.callbacks.number={int(number)}",
    )
    with forked(main, [*map(str, words), *ending], more=environment) as process:
        return process.wait(150)


def assert_equal(ours: object, theirs: object, name: str) -> None:
    """Compares nested states bit for bit."""
    assert type(ours) is type(theirs), name
    if isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        assert torch.equal(ours, theirs), name
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), name
        for key in ours:
            assert_equal(ours[key], theirs[key], f"{name}.{key}")
    elif isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs), name
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_equal(*pair, f"{name}[{number}]")
    else:
        assert ours == theirs, name


Fit = tuple[str | Path, ...]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Words of a run, but for its folder."""
    folder = tmp_path_factory.mktemp("resume")
    data = tiny.write_stack(folder / "data", count=_PARTICLES)
    config = tiny.write_config(folder, data, max_epochs=_EPOCHS)
    return ("fit", "--config", config, *_EVERY, "--trainer.default_root_dir")


@pytest.fixture(scope="module")
def whole(fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The last state of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    tiny.succeed(*fit, folder)
    return load(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_a_run_that_was_ended_resumes_to_the_same_weights(
    fit: Fit, whole: dict[str, Any], number: signal.Signals, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    status = end_in_mid_epoch(number, *fit, run)
    assert status == (-9 if number == signal.SIGKILL else 128 + number)

    stopped = load(run)["global_step"]
    assert _STEPS <= stopped < _EPOCHS * _STEPS
    assert stopped % _STEPS, "ended between epochs"
    tiny.succeed(*fit, run, "--ckpt_path", "last")

    found = load(run)
    assert found["global_step"] == whole["global_step"] == _EPOCHS * _STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(found[part], whole[part], part)
    assert [path.name for path in (run / "checkpoints").glob("last*")] == ["last.ckpt"]


def test_slurm_gets_the_job_back(fit: Fit, tmp_path: Path) -> None:
    scontrol = tmp_path / "bin/scontrol"
    scontrol.parent.mkdir()
    scontrol.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/requeued\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    slurm = {
        "PATH": f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_ID": "1234",
        "SLURM_JOB_NAME": "fit",
        "SLURM_NTASKS": "1",
        "SLURM_PROCID": "0",
        "SLURM_LOCALID": "0",
        "SLURM_NODEID": "0",
    }
    run = tmp_path / "run"
    status = end_in_mid_epoch(signal.SIGUSR1, *fit, run, environment=slurm)
    assert status == 128 + signal.SIGUSR1
    assert (tmp_path / "requeued").read_text() == "requeue 1234\n"
    assert load(run)["global_step"] % _STEPS
    assert not list(run.glob("hpc_ckpt*"))
