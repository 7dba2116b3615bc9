"""Two processes with unequal shares give the scores of one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.forked import together
from tests.metrics import two_processes


def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    together(two_processes.main, tmp_path)
    expected = two_processes.scores(torch.arange(two_processes.COUNT))
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()).values():
            assert found == pytest.approx(expected, rel=0, abs=1e-6)
