"""Help, versions and mistyped commands, without loading what they do not need."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.cli.errors import leave


def test_help_names_all_commands_and_loads_nothing_else() -> None:
    program = (
        "import sys; from cryo_disentangle.cli import main; main(['--help']); "
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
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
    assert "error: no command 'predct': did you mean 'predict'? there are fit, validate" in said
    assert "benchmark" in said


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
    error = OSError(13, "Permission denied", "some/file")
    assert ended(error, monkeypatch) == "cryo-disentangle: error: some/file: Permission denied"
