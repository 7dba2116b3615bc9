"""The commands and the Python of docs/evaluate.md run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cryo_disentangle.cli import main
from tests import tiny

_ROOT = Path(__file__).parents[2]
_PAGE = (_ROOT / "docs/evaluate.md").read_text()


@pytest.fixture
def _there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/x").symlink_to(finished / "run")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE, re.M | re.S)


def test_every_block_is_tested() -> None:
    assert (_PAGE.count("```"), len(blocks("sh")), len(blocks("python"))) == (10, 4, 1)


@pytest.mark.usefixtures("_there")
def test_commands() -> None:
    main(["export", "runs/x", "--out", "WORKDIR"])
    for line in "".join(blocks("sh")).splitlines():
        name, *words = shlex.split(line, comments=True)
        assert name == "cryo-disentangle"
        if words[0] == "fit":
            words[2] = str(_ROOT / words[2])
            tiny.succeed(*words, "--trainer.max_epochs", "1", "--trainer.accelerator", "cpu")
        else:
            quick = ["--resamples", "0", "--sample", "20"] if words[0] == "evaluate" else []
            main([*words, *quick, *(["--out", "out"] if words[1:] == ["runs/x"] else [])])
    first, second = (Path(name, "z.pkl").read_bytes() for name in ("WORKDIR", "repaired"))
    assert len(first) == len(second)
    assert first != second
    assert Path("rendered/report.html").is_file()
    assert Path("runs/cryodrgn_finetune/cryodrgn/weights.pkl").is_file()
    assert Path("out/report.html").is_file()
    assert Path("runs/x_cryodrgn/weights.pkl").is_file()


@pytest.mark.usefixtures("_there")
def test_python() -> None:
    names: dict[str, Any] = {}
    for block in blocks("python"):
        exec(compile(block, "evaluate.md", "exec"), names)
    assert 0 <= names["leak"] <= 1
    assert Path("evaluation_of_x/metrics.json").is_file()
