"""Help, versions and mistyped commands, without loading what they do not need."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.cli.errors import leave
from tests import tiny
from tests.forked import forked

_TWO_ARMS = Path(__file__).parents[2] / "configs/simulate/two_arm.yaml"


def test_help_names_all_commands_and_loads_nothing_else() -> None:
    program = """
import sys
from cryo_disentangle.cli.command import command_names, main
from cryo_disentangle.options import commands

main(["--help"])
main(["--version"])
main(["configs"])
for name in sorted(set(dir(commands)) & {f"{command}_parser" for command in command_names()}):
    name = name.removesuffix("_parser")
    try:
        main([name, "--help"])
    except SystemExit as stop:
        assert stop.code == 0
sys.exit(bool({"torch", "lightning", "numpy"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in ("select", "evaluate", "inspect", "configs", "completion"):
        assert f"usage: cryo-disentangle {name}" in done.stdout
    assert "two_arm.yaml" in done.stdout
    assert "None" not in done.stdout
    for name in ("fit", "validate", "test", "predict", "evaluate", "report", "export"):
        assert f"\n  {name} " in done.stdout


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--version"])
    assert capsys.readouterr().out == f"cryo-disentangle {version('cryo-disentangle')}\n"


def test_a_mistyped_command_names_the_one_meant_and_all(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predct"])
    said = capsys.readouterr().err
    assert "error: no command 'predct': did you mean 'predict'? there are inspect, fit" in said
    assert "benchmark" in said


def test_names_of_other_programs_lead_to_ours(capsys: pytest.CaptureFixture[str]) -> None:
    for name, meant in (("analyze", "report"), ("train_vae", "fit")):
        with pytest.raises(SystemExit, match="2"):
            main([name])
        assert f"no command {name!r}: did you mean {meant!r}?" in capsys.readouterr().err


def ended(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.delenv("CRYO_DISENTANGLE_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as stop:
        leave(error)
    return stop.value.code


@pytest.mark.parametrize("kind", [AssertionError, AttributeError, IndexError, KeyError])
def test_a_bug_is_called_one_and_can_be_reported(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = str(ended(kind("x" * 1000), monkeypatch))
    assert said.startswith(f"cryo-disentangle: this looks like a bug ({kind.__name__}")
    assert said.endswith("that CRYO_DISENTANGLE_TRACEBACK=1 before the command shows")
    assert len(said) <= 400


def test_an_interrupt_ends_with_the_status_of_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(KeyboardInterrupt(), monkeypatch) == 130
    assert capsys.readouterr().err == "cryo-disentangle: interrupted\n"


def test_what_the_system_says_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.EIO, "Input/output error", "some/file")
    assert ended(error, monkeypatch) == "cryo-disentangle: error: some/file: Input/output error"
    error = OSError(errno.ENOSPC, "No space left on device", "some/file")
    assert str(ended(error, monkeypatch)).endswith(
        "some/file: the disk is full: make room, then run the same command again"
    )


_INTERRUPTED = """
import os
import signal

from lightning.pytorch.callbacks import Callback

from cryo_disentangle.simulation import TwoArms


class Stop(Callback):
    def on_train_batch_start(self, *_):
        os.kill(os.getpid(), signal.SIGINT)


class Arms(TwoArms):
    def __init__(self):
        os.kill(os.getpid(), signal.SIGINT)
"""


def _run_in(folder: Path, words: list[str]) -> None:
    """Runs a command in a folder."""
    os.chdir(folder)
    main(words)


def test_ctrl_c_ends_a_training_and_a_simulation_in_a_sentence(tmp_path: Path) -> None:
    """By classes of the current folder, which class_path finds."""
    (tmp_path / "stopping.py").write_text(_INTERRUPTED)
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data", count=20))
    for words in (
        ("fit", "--config", config, "--trainer.callbacks+=stopping.Stop"),
        ("simulate", "--config", _TWO_ARMS, "--molecule=stopping.Arms", "--out", "new"),
    ):
        with forked(_run_in, tmp_path, [str(word) for word in words]) as process:
            status, (_, said) = process.wait(), process.said()
        assert status == 130, said[-2000:]
        assert "Traceback" not in said
        assert said.splitlines()[-1] == "cryo-disentangle: interrupted"
    assert not (tmp_path / "new").exists()
