"""The page on parts of one's own: its file is written, named in a configuration, and trained."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

from cryo_disentangle.cli import main
from tests import tiny
from tests.callbacks import watched
from tests.small_model import make_batch

_PAGE = Path(__file__).parents[1] / "docs/own_parts.md"

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", _PAGE.read_text(), re.M | re.S)


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page's classes as a user's file; its last block is a loop."""
    text = "\n".join(blocks("python")[:-1])
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    return text


def test_every_part_has_at_most_twenty_lines(mine: str) -> None:
    classes = [node for node in ast.parse(mine).body if isinstance(node, ast.ClassDef)]
    assert [kind.name for kind in classes] == ["Sparse", "Wide", "Blobs", "TwoLayers", "Kurtosis"]
    for kind in classes:
        lines = mine.splitlines()[kind.lineno - 1 : kind.end_lineno]
        assert len([line for line in lines if line]) <= 20


@pytest.mark.usefixtures("mine")
def test_the_configuration_is_trained(tmp_path: Path) -> None:
    data = tiny.write_stack(tmp_path / "data", count=40)
    config = tiny.write_config(tmp_path, data, max_epochs=1)
    told = yaml.safe_load(config.read_text())
    (block,) = blocks("yaml")
    page = yaml.safe_load(block)
    told["model"] = page["model"]
    told["trainer"] |= page["trainer"] | {"enable_progress_bar": False}
    config.write_text(yaml.safe_dump(told))
    main(["fit", "--config", str(config), "--checkpoint.monitor=metrics/kurtosis"])
    for name in ("train/sparse", "train/sparse/size", "val/sparse", "metrics/kurtosis"):
        assert tiny.read_metrics(tmp_path / "run", name)


def test_the_loop_runs(mine: str) -> None:
    names: dict[str, object] = {"batches": [make_batch(), make_batch()]}
    exec(compile(mine + blocks("python")[-1], str(_PAGE), "exec"), names)
    assert names["step"] == 1


def test_what_is_missing_is_said_as_the_page_says(
    tmp_path: Path, mine: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        mine.replace("def forward(self, model", "def apply(self, model")
    )
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data", count=40))
    told = yaml.safe_load(config.read_text())
    told["model"]["init_args"]["penalties"] = {"sparse": {"class_path": "mine.Sparse"}}
    config.write_text(yaml.safe_dump(told))
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(config)])
    said = capsys.readouterr().err
    (sentence,) = re.findall(r"^    (model.*: Sparse has no .*)$", _PAGE.read_text(), re.M)
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
