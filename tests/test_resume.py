"""A run that is killed and resumed ends with the weights of one that was not."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

import torch

from tests import tiny

_PARTICLES, _EPOCHS = 2000, 3
_STEPS = _PARTICLES * 8 // 10 // 10  # an epoch: a fifth is held out, batches of 10
_EVERY = (
    "--checkpoint.every_n_train_steps=5",
    "--trainer.enable_progress_bar=false",
    "--trainer.log_every_n_steps=50",
)


def load(run: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(run / "checkpoints/last.ckpt", weights_only=False)
    return state


def kill_in_mid_epoch(*words: str | Path) -> None:
    """Kills a run (SIGKILL) in the middle of its second epoch."""
    folder = Path(words[-1]) / "checkpoints"
    process = subprocess.Popen(
        tiny.command(*words),
        env=tiny.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    try:
        # Not at the epoch's first checkpoint, step 165, for last.ckpt is written after it.
        while not any(folder.glob("epoch=1-step=[123][!6]?.ckpt")):
            assert process.poll() is None, "the run ended before it could be killed"
            assert time.monotonic() < end, "no checkpoint appeared"
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()


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


def test_a_killed_run_resumes_to_the_same_weights(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=_PARTICLES)
    config = tiny.write_config(tmp_path, data, max_epochs=_EPOCHS)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    fit = ("fit", "--config", config, *_EVERY, "--trainer.default_root_dir")
    tiny.succeed(*fit, whole)
    kill_in_mid_epoch(*fit, killed)

    stopped = load(killed)["global_step"]
    assert _STEPS <= stopped < _EPOCHS * _STEPS
    assert stopped % _STEPS, "killed between epochs"
    tiny.succeed(*fit, killed, "--ckpt_path", "last")

    expected, found = load(whole), load(killed)
    assert found["global_step"] == expected["global_step"] == _EPOCHS * _STEPS
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        assert_equal(found[part], expected[part], part)
