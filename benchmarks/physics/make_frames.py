"""Runs the Gō model at five temperatures and writes the frames that the package ships.

    python benchmarks/physics/make_frames.py --scratch SCRATCH

750,000 steps of 40 fs at each temperature, a frame every 150 steps (6 ps); needs OpenMM and
five minutes of one core. Runs that SCRATCH holds already are taken as they are.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from cryo_disentangle.physics import trajectories
from cryo_disentangle.physics.collective import superposed
from cryo_disentangle.physics.go_model import Recorded, TwoBasinModel
from cryo_disentangle.physics.residues import CORE, load_residues

OUT = Path(trajectories.__file__).parent / "data" / "frames.npz"
TESTED = Path(__file__).parents[2] / "tests/physics/whole_frames.npz"
KELVIN = (270.0, 285.0, 300.0, 315.0, 330.0)
FRAMES, STEPS_PER_FRAME, COMPONENTS, CHECKED = 5000, 150, 60, 8


def recorded(model: TwoBasinModel, number: int, scratch: Path) -> Recorded:
    """A run, made where the folder lacks it."""
    file = scratch / f"run_{number}.npz"
    if not file.exists():
        started = time.perf_counter()
        found = model.run(KELVIN[number], FRAMES, STEPS_PER_FRAME, seed=number)
        np.savez(file, **found._asdict())
        print(f"{KELVIN[number]:g} K: {time.perf_counter() - started:.0f} s", flush=True)
    with np.load(file) as archive:
        return Recorded(**archive)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for whole runs")
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    options.scratch.mkdir(parents=True, exist_ok=True)
    model = TwoBasinModel()
    runs = [recorded(model, number, options.scratch) for number in range(len(KELVIN))]
    found = trajectories.compress_runs(runs, KELVIN, COMPONENTS)
    trajectories.write_trajectories(options.out, found)
    residues = load_residues()
    rows = np.linspace(0, FRAMES - 1, CHECKED).astype(int)
    whole = []
    for run, scores, kelvin in zip(runs, found.scores, KELVIN, strict=True):
        fitted = superposed(run.positions, residues.open, residues.domain == CORE)
        error = np.square(fitted - found.positions(scores)).sum(2)
        whole.append(fitted[rows])
        print(f"{kelvin:g} K: {np.sqrt(error.mean()):.3f} Å rms of what is not kept")
    np.savez_compressed(TESTED, positions=np.stack(whole).astype(np.float16), rows=rows)


if __name__ == "__main__":
    main()
