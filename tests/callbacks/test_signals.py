"""What ends a run is refused where it could not be kept."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from cryo_disentangle.callbacks import SignalCheckpoint
from tests.callbacks import foreign, loops, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


def test_a_run_without_checkpoints_is_refused() -> None:
    with pytest.raises(ValueError, match="the Trainer has none: enable_checkpointing"):
        loops.train(foreign.ConvolutionalVAE(), SignalCheckpoint())


def test_odd_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="every_n_steps must be at least 1, found 0"):
        SignalCheckpoint(0)


class _Terminated(Callback):
    """Is told to stop in its first step."""

    def on_train_batch_start(self, *_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_stopped_run_says_where_it_is_saved_and_how_it_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = (_Terminated(), SignalCheckpoint(), ModelCheckpoint(tmp_path / "checkpoints"))
    trainer = watched.make_trainer(tmp_path, *parts, enable_checkpointing=True)
    with pytest.raises(SystemExit) as stop:
        trainer.fit(watched.make_model(), datamodule=watched.make_data(tmp_path))
    assert stop.value.code == 143
    last = tmp_path / "checkpoints/last.ckpt"
    assert last.is_file()
    assert f"Stopped by SIGTERM after step 1, saved in {last}." in capsys.readouterr().out
