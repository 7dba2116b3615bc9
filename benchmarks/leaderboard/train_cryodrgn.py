"""Trains cryoDRGN's ``train_vae`` on stacks of a benchmark, for its kind ``cryodrgn``.

    python benchmarks/leaderboard/train_cryodrgn.py --stacks runs/full/data --runs runs/cryodrgn \
        --datasets adk_snr1 adk_snr0.1 --command PATH/TO/cryodrgn

Networks have 3 layers of 256, and z has as many dimensions as there are factors. cryoDRGN is to be
installed in an environment of its own. Runs that are finished are not trained again. The README
beside this file says how the benchmark is told of them.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1] / "statistics"))
from train_vae import train_vae


def train(command: Path, stack: Path, run: Path, epochs: int) -> None:
    """Trains on all particles of a stack, in a folder that is renamed when it is done."""
    with np.load(stack / "truth.npz") as truth:
        dim = truth["factors"].shape[1]
    out = run.with_suffix(".unfinished")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    seconds = train_vae(command, stack, out, dim, epochs, "--seed", run.name.removeprefix("seed_"))
    print(f"{run}: {seconds:.0f} s", flush=True)
    out.rename(run)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=Path, required=True, help="the benchmark's folder data")
    parser.add_argument("--runs", type=Path, required=True, help="folder for cryoDRGN's runs")
    parser.add_argument("--datasets", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--command", type=Path, required=True, help="cryoDRGN's")
    options = parser.parse_args()
    for name in options.datasets:
        for seed in options.seeds:
            run = options.runs / name / f"seed_{seed}"
            if not run.is_dir():
                stack = options.stacks / name / run.name
                train(options.command, stack, run, options.epochs)


if __name__ == "__main__":
    main()
