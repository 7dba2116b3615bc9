"""Times the way from a stack to a report, command by command.

    python benchmarks/statistics/stages.py STACK --scratch SCRATCH

STACK is the folder that run.py left of a simulation. Appends rows to stages.csv; seconds are of the
wall, on as many threads as OMP_NUM_THREADS says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from tables import append

RESULTS = Path(__file__).parent / "stages.csv"
_CONFIG = Path(__file__).parents[2] / "configs/statistics.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stack", type=Path)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table that grows")
    options = parser.parse_args()
    statistics, run = options.scratch / "statistics", options.scratch / "run"
    star = options.stack / "particles.star"
    learning: list[object] = ["fit", "--config", _CONFIG, "--data.statistics", statistics]
    learning += ["--data.labels", options.stack / "truth.npz"]
    learning += ["--trainer.default_root_dir", run]
    assembled = options.scratch / "assembled"
    words: list[list[object]] = [
        ["statistics", star, "--out", statistics],
        learning,
        ["assemble", run, "--out", assembled, "--particles", star],
    ]
    for each in words:
        command = [sys.executable, "-m", "cryo_disentangle", *map(str, each)]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        row: dict[str, object] = {
            "stack": options.stack.name,
            "command": each[0],
            "seconds": time.perf_counter() - started,
            "cores": os.environ.get("OMP_NUM_THREADS", "all"),
        }
        append(row, options.out)
        print(row, flush=True)


if __name__ == "__main__":
    main()
