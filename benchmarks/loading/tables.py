"""Time and memory of opening many particles over many stacks.

    python benchmarks/loading/tables.py [--rows 1000000] [--files 5000] [--formats star cs]

Writes a STAR file of RELION 3.1 with 20 columns, or cryoSPARC's table, and the (sparse) stacks that
it names, opens it as training does in a process of its own, and prints rows a second, by the clock
and of the processor, and that process's peak of memory over what it had before (Linux).

    python benchmarks/loading/tables.py --columns [--rows 300000]

reads all 20 columns of such a STAR file, as numbers and texts, by `read_star` and by gemmi, each in
a process of its own and three times in turn, and prints the least seconds of the processor and the
peak of memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from gemmi import cif
from resident import ResidentPeaks

from cryo_disentangle.files.stacks import stack_header
from cryo_disentangle.files.star import read_star
from cryo_disentangle.particles import ParticleStack

SIDE = 8
LABELS = ("AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst", "DefocusU")
LABELS += ("DefocusV", "DefocusAngle", "PhaseShift", "CoordinateX", "CoordinateY")
LABELS += ("CtfFigureOfMerit", "CtfMaxResolution", "NormCorrection", "MaxValueProbDistribution")
LABELS += ("LogLikeliContribution", "NrOfSignificantSamples")

FIELDS = [
    ("uid", "u8"),
    ("blob/path", "S80"),
    ("blob/idx", "u4"),
    ("blob/shape", "u4", 2),
    ("blob/psize_A", "f4"),
    ("ctf/accel_kv", "f4"),
    ("ctf/cs_mm", "f4"),
    ("ctf/amp_contrast", "f4"),
    ("ctf/df1_A", "f4"),
    ("ctf/df2_A", "f4"),
    ("ctf/df_angle_rad", "f4"),
    ("ctf/phase_shift_rad", "f4"),
    ("alignments3D/pose", "f4", 3),
    ("alignments3D/shift", "f4", 2),
]


def write_stacks(folder: Path, per_file: int, files: int) -> None:
    """Sparse stacks."""
    (folder / "stacks").mkdir()
    for number in range(files):
        with (folder / f"stacks/{number:06d}.mrcs").open("wb") as file:
            file.write(stack_header(per_file, SIDE, 1.0))
            file.truncate(1024 + per_file * SIDE * SIDE * 4)


def write_cs(folder: Path, rows: int, files: int) -> Path:
    """The table of cryoSPARC."""
    per_file, path = -(-rows // files), folder / "particles.cs"
    table = np.empty(rows, dtype=FIELDS)
    number, slot = np.divmod(np.arange(rows), per_file)
    table["blob/path"] = [f"stacks/{i:06d}.mrcs" for i in number.tolist()]
    table["blob/idx"], table["blob/shape"], table["blob/psize_A"] = slot, SIDE, 1.5
    optics = {"accel_kv": 300, "cs_mm": 2.7, "amp_contrast": 0.1, "phase_shift_rad": 0}
    for name, value in optics.items():
        table[f"ctf/{name}"] = value
    values = np.random.default_rng(0).uniform(0.1, 3, (rows, 8))
    for column, name in enumerate(("ctf/df1_A", "ctf/df2_A", "ctf/df_angle_rad")):
        table[name] = values[:, column] * 1e4
    table["alignments3D/pose"], table["alignments3D/shift"] = values[:, 3:6], values[:, 6:]
    with path.open("wb") as file:
        np.save(file, table)
    return path


def write_star(folder: Path, rows: int, files: int) -> Path:
    """The table of RELION."""
    per_file = -(-rows // files)
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
        values[:, 3:5] /= 170
        texts = [" ".join(f"{value:12.6f}" for value in row) for row in values]
        for row in range(rows):
            number, slot = divmod(row, per_file)
            name = f"{slot + 1:06d}@stacks/{number:06d}.mrcs 1 micrographs/{number:06d}.mrc"
            file.write(f"{name} {texts[row % 1000]}\n")
    return path


def open_table(path: Path) -> None:
    """Opens a table and prints what it cost."""
    with ResidentPeaks() as before:
        pass
    start, processor = time.perf_counter(), time.process_time()
    with ResidentPeaks() as peaks:
        stack = ParticleStack.open(path)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    mib = peaks.anonymous - before.anonymous, peaks.mapped - before.mapped
    print(json.dumps([len(stack), seconds, processor, *mib]))


def read_columns(path: Path, reader: str) -> None:
    """Reads all columns and prints what it cost."""
    texts = ("_rlnImageName", "_rlnMicrographName")
    with ResidentPeaks() as before:
        pass
    start = time.process_time()
    with ResidentPeaks() as peaks:
        if reader == "gemmi":
            block = cif.read_file(str(path)).find_block("particles")
            loop = block[0].loop
            columns = {label: list(block.find_values(label)) for label in loop.tags}
            found = [
                list(map(cif.as_string, values)) if label in texts else np.array(values, dtype="f8")
                for label, values in columns.items()
            ]
        else:
            labels = read_star(path)["particles"].labels
            table = read_star(path, kept=labels)["particles"]
            found = [
                list(table.strings(label)) if label in texts else table.numbers(label)
                for label in labels
            ]
    print(json.dumps([len(found), time.process_time() - start, peaks.anonymous - before.anonymous]))


def compare_readers(folder: Path, rows: int) -> None:
    """Prints what reading all columns costs by each reader."""
    path = write_star(folder, rows, 1000)
    print("| reader | columns | rows | least seconds of the processor | peak of memory, MiB |")
    print("|---|---|---|---|---|", flush=True)
    runs: dict[str, list[list[float]]] = {"read_star": [], "gemmi": []}
    for _ in range(3):
        for reader, costs in runs.items():
            command = [sys.executable, __file__, "--read", reader, "--open", str(path)]
            costs.append(json.loads(subprocess.check_output(command, text=True)))
    for reader, costs in runs.items():
        columns, seconds, mib = min(costs, key=lambda cost: cost[1])
        print(f"| {reader} | {columns} | {rows} | {seconds:.2f} | {mib:.0f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--formats", nargs="+", choices=["star", "cs"], default=["star", "cs"])
    parser.add_argument("--folder", type=Path, help="where files are written for a while")
    parser.add_argument("--columns", action="store_true", help="compare with gemmi")
    parser.add_argument("--open", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.read:
        read_columns(args.open, args.read)
        return
    if args.columns:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            compare_readers(Path(folder), args.rows)
        return
    if args.open:
        open_table(args.open)
        return
    titles = ["table", "rows", "stacks", "rows/s", "rows/s of CPU time"]
    titles += ["anonymous memory, bytes a row", "mapped files, bytes a row"]
    print(f"| {' | '.join(titles)} |\n|{'---|' * len(titles)}", flush=True)
    for name in args.formats:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            write_stacks(Path(folder), -(-args.rows // args.files), args.files)
            write = {"star": write_star, "cs": write_cs}[name]
            path = write(Path(folder), args.rows, args.files)
            size = path.stat().st_size / args.rows
            done = subprocess.run(
                [sys.executable, __file__, "--open", str(path)],
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            sys.exit(done.stderr)
        rows, seconds, processor, anonymous, mapped = json.loads(done.stdout)
        cells = [f".{name}, {size:.0f} bytes a row", f"{rows}", f"{args.files}"]
        cells += [f"{rows / seconds:.0f}", f"{rows / processor:.0f}"]
        cells += [f"{mib * 2**20 / rows:.0f}" for mib in (anonymous, mapped)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
