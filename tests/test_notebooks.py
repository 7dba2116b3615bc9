"""The notebooks run, and are kept without outputs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib import pyplot as plt

_FOLDER = Path(__file__).parents[1] / "notebooks"
_NOTEBOOKS = sorted(_FOLDER.glob("*.ipynb"))

# Neither training nor intervals are judged here.
_FEWER = {r"max_epochs=\d+": "max_epochs=2", r"resamples=\d+": "resamples=0"}

pytestmark = pytest.mark.filterwarnings("ignore")


def cells(notebook: Path, kind: str) -> list[dict[str, Any]]:
    found = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in found if cell["cell_type"] == kind]


def test_there_are_four() -> None:
    assert [path.stem[0] for path in _NOTEBOOKS] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(notebook: Path) -> None:
    for cell in cells(notebook, "code"):
        assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=lambda path: path.stem)
def test_files_that_are_linked_exist(notebook: Path) -> None:
    text = "".join(line for cell in cells(notebook, "markdown") for line in cell["source"])
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert links
    assert [link for link in links if not (_FOLDER / link).is_file()] == []


@pytest.mark.parametrize("notebook", _NOTEBOOKS, ids=lambda path: path.stem)
def test_cells_run(notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["notebook"])
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(variable, raising=False)
    plt.switch_backend("agg")
    shown: list[int] = []

    def show() -> None:
        shown.extend(plt.get_fignums())
        plt.close("all")

    monkeypatch.setattr(plt, "show", show)
    names: dict[str, Any] = {}
    for cell in cells(notebook, "code"):
        source = "".join(cell["source"])
        for pattern, few in _FEWER.items():
            source = re.sub(pattern, few, source)
        exec(compile(source, notebook.name, "exec"), names)
    assert len(shown) >= 2
