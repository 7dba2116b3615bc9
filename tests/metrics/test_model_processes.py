"""Two processes with unequal shares of particles give the scores of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.forked import together
from tests.metrics import model_processes


def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    together(model_processes.main, tmp_path)
    expected = model_processes.scores(list(range(len(model_processes.SIZES))))
    assert len(expected) > 100
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()):
            assert found == pytest.approx(expected, rel=0, abs=1e-6)
