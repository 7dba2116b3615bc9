"""A folder is one process's until it ends, however it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cryo_disentangle.files.locks import alone_in

_PROGRAM = """
import sys, time
from pathlib import Path
from cryo_disentangle.files.locks import alone_in

with alone_in(Path(sys.argv[1]), "taken"):
    print("locked", flush=True)
    time.sleep(600)
"""


def test_a_second_is_refused_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", _PROGRAM, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match="run: taken"), alone_in(tmp_path / "run", "taken"):
            pass
        process.kill()
        process.wait()
    with alone_in(tmp_path / "run", "taken"):
        pass


def test_nothing_is_left_of_what_was_refused(tmp_path: Path) -> None:
    for name in ("new", "old"):
        folder = tmp_path / name
        if name == "old":
            folder.mkdir()
            (folder / "mine").touch()
        with pytest.raises(ValueError, match="no"), alone_in(folder, "taken"):
            raise ValueError("no")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]
    assert (tmp_path / "old/mine").exists()
