"""Two processes with unequal shares of particles give the scores of one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.metrics import model_processes


def test_scores_are_those_of_one_process(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.metrics.model_processes", str(tmp_path)]
    running = [
        subprocess.Popen([*command, str(rank)], cwd=root, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    for process in running:
        _, errors = process.communicate(timeout=1500)
        assert process.returncode == 0, errors.decode()
    expected = model_processes.scores(list(range(len(model_processes.SIZES))))
    assert len(expected) > 100
    for rank in range(2):
        for found in json.loads((tmp_path / f"{rank}.json").read_text()):
            assert found == pytest.approx(expected, rel=0, abs=1e-6)
