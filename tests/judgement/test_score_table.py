"""Tables of scores as files and in checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

from cryo_disentangle.judgement.score_table import MetricTable


def test_rows_are_written_and_gone_on_with(tmp_path: Path) -> None:
    table = MetricTable()
    assert table.last_epoch is None
    assert table.last_scores == {}
    table.add(0, 5, {"mcc": 0.1})
    table.add(1, 10, {"mcc": 0.2, "leak/r2": math.nan})
    path = tmp_path / "new/scores"
    table.write(path)
    lines = path.with_suffix(".csv").read_text().splitlines()
    assert lines == ["epoch,step,mcc,leak/r2", "0,5,0.1,", "1,10,0.2,nan"]
    second = {"epoch": 1, "step": 10, "mcc": 0.2, "leak/r2": None}
    rows = [{"epoch": 0, "step": 5, "mcc": 0.1}, second]
    assert json.loads(path.with_suffix(".json").read_text()) == rows

    resumed = MetricTable()
    resumed.load_state_dict(table.state_dict())
    table.add(2, 15, {"mcc": 0.5})
    assert resumed.last_epoch == 1
    assert resumed.last_scores["mcc"] == 0.2


def test_curves_of_some_scores() -> None:
    table = MetricTable()
    table.add(0, 5, {"mcc": 0.1, "leak/r2": 0.5})
    table.add(2, 12, {"mcc": 0.2})
    table.add(2, 15, {"mcc": 0.3, "r2": 0.0})
    assert table.curves(["*r2", "mcc"]) == {
        "leak/r2": {1: 0.5},
        "r2": {3: 0.0},
        "mcc": {1: 0.1, 3: 0.3},
    }
    assert table.curves(["none"]) == {}


def test_an_evaluation_that_is_repeated_replaces_its_row() -> None:
    table = MetricTable()
    for score in (0.1, 0.2):
        table.add(3, 7, {"mcc": score})
    assert table.state_dict() == {"rows": [{"epoch": 3, "step": 7, "mcc": 0.2}]}
