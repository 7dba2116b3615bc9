"""Time and memory of opening many particles over many stacks.

    python benchmarks/loading/tables.py [--rows 1000000] [--files 5000]

Writes a STAR file of RELION 3.1 with 20 columns and the (sparse) stacks that it names, opens it as
training does in a process of its own, and prints rows a second and that process's peak of memory
(Linux).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from cryo_disentangle.particles.mrc import _stack_header

SIDE = 8
LABELS = ("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst", "DefocusU")
LABELS += ("DefocusV", "DefocusAngle", "PhaseShift", "CoordinateX", "CoordinateY")
LABELS += ("CtfFigureOfMerit", "CtfMaxResolution", "NormCorrection", "MaxValueProbDistribution")
LABELS += ("LogLikeliContribution", "NrOfSignificantSamples")

OPEN = """
import sys, time
from cryo_disentangle.particles import ParticleStack
import torch

def peak():
    # Not getrusage, whose maximum a child inherits from the process that started it.
    with open("/proc/self/status") as status:
        return int(status.read().split("VmHWM:")[1].split()[0]) / 1024

before, start = peak(), time.perf_counter()
stack = ParticleStack.open(sys.argv[1])
print(len(stack), time.perf_counter() - start, peak() - before)
"""


def write_table(folder: Path, rows: int, files: int) -> Path:
    """The table and its stacks."""
    per_file = -(-rows // files)
    (folder / "stacks").mkdir()
    for number in range(files):
        with (folder / f"stacks/{number:06d}.mrcs").open("wb") as file:
            file.write(_stack_header(per_file, SIDE, 1.0))
            file.truncate(1024 + per_file * SIDE * SIDE * 4)
    path = folder / "particles.star"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        file.write("data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnImagePixelSize #2\n")
        file.write("_rlnImageSize #3\n_rlnVoltage #4\n_rlnSphericalAberration #5\n")
        file.write(f"_rlnAmplitudeContrast #6\n1 1.5 {SIDE} 300 2.7 0.1\n\n")
        file.write("data_particles\n\nloop_\n_rlnImageName #1\n_rlnOpticsGroup #2\n")
        file.write("_rlnMicrographName #3\n")
        file.writelines(f"_rln{label} #{n}\n" for n, label in enumerate(LABELS, start=4))
        values = rng.uniform(1, 170, (1000, len(LABELS)))
        texts = [" ".join(f"{value:12.6f}" for value in row) for row in values]
        for row in range(rows):
            number, slot = divmod(row, per_file)
            name = f"{slot + 1:06d}@stacks/{number:06d}.mrcs 1 micrographs/{number:06d}.mrc"
            file.write(f"{name} {texts[row % 1000]}\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=5000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write_table(Path(folder), args.rows, args.files)
        size = path.stat().st_size
        done = subprocess.run(
            [sys.executable, "-c", OPEN, str(path)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        sys.exit(done.stderr)
    rows, seconds, memory = (float(word) for word in done.stdout.split())
    print(f"{rows:.0f} rows ({size / 2**20:.0f} MiB) over {args.files} stacks: {seconds:.1f} s,")
    print(f"{rows / seconds:.0f} rows/s, {memory:.0f} MiB more at the peak,")
    print(f"{memory * 2**20 / rows:.0f} bytes a row")


if __name__ == "__main__":
    main()
