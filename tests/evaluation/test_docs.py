"""The commands and the Python of docs/evaluate.md run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cryo_disentangle.cli import main

_PAGE = (Path(__file__).parents[2] / "docs/evaluate.md").read_text()


@pytest.fixture
def _there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/x").symlink_to(finished / "run")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.M | re.S)


def test_every_block_is_tested() -> None:
    assert (_PAGE.count("```"), len(blocks("sh")), len(blocks("python"))) == (6, 2, 1)


@pytest.mark.usefixtures("_there")
def test_commands() -> None:
    for block in blocks("sh"):
        name, *words = shlex.split(block)
        assert name == "cryo-disentangle"
        quick = ["--resamples", "0", "--out", "out"] if words[0] == "evaluate" else []
        main([*words, *quick])
    assert Path("out/report.html").is_file()
    assert Path("runs/x_cryodrgn/weights.pkl").is_file()


@pytest.mark.usefixtures("_there")
def test_python() -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "evaluate.md", "exec"), names)
    assert 0 <= names["leak"] <= 1
    assert Path("evaluation_of_x/metrics.json").is_file()
