"""Benchmark scripts run at small sizes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import tiny

_ROOT = Path(__file__).resolve().parents[1]


def run(script: str, *words: str) -> str:
    """Runs a script of the benchmarks' folder; returns what it prints."""
    command = [sys.executable, str(_ROOT / "benchmarks" / script), *words]
    done = subprocess.run(
        command, env=tiny.environment(), cwd=_ROOT, capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


def test_gpu() -> None:
    said = run("gpu.py", "--small")
    rows = [
        line.split("|") for line in said.splitlines() if "| ours | " in line and "D" not in line
    ]
    assert len(rows) == 8
    assert all(float(row[7]) > 0 for row in rows)
    assert said.count("calls that would wait on a GPU: none") == 4


def test_two_processes() -> None:
    sizes = ["--box-size=16", "--width=32", "--steps=10", "--repeats=1"]
    said = run("scaling/two_processes.py", *sizes)
    cells = said.splitlines()[-1].split("|")
    assert float(cells[6]) == 0
    assert float(cells[7]) < 1e-5
