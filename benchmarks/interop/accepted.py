"""Whether cryoDRGN's own programs take our exports for runs of their own.

    python benchmarks/interop/accepted.py CRYODRGN --out benchmarks/interop/accepted.md

makes a small simulated stack, trains a model on it here and one with ``cryodrgn train_vae``,
exports both with ``cryo-disentangle export`` and runs cryoDRGN's programs on the two folders.
CRYODRGN is the path of its executable, which may lie in an environment of its own. Takes a few
minutes; the exit status is 1 if a program refuses.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from cryo_disentangle import configs

PARTICLES, EPOCHS, ZDIM, BOX = 300, 2, 2, 32


class Outcome(NamedTuple):
    """What came of a program."""

    source: str
    program: str
    accepted: bool
    wrote: str


def run(words: Sequence[str | Path], folder: Path) -> tuple[bool, str]:
    """Runs a program in a folder; returns whether it ended well and what it said."""
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    return done.returncode == 0, done.stdout + done.stderr


def ours(*words: str | Path) -> list[str | Path]:
    return [sys.executable, "-W", "ignore", "-m", "cryo_disentangle", *words]


def must(words: Sequence[str | Path], folder: Path) -> None:
    """Runs a program that everything else needs."""
    good, said = run(words, folder)
    if not good:
        raise RuntimeError(f"{words} failed:\n{said[-3000:]}")


def train_here(folder: Path) -> None:
    """Simulates particles and trains a small model on them."""
    molecule = Path(configs.__file__).parent / "simulate" / "two_arm_grid.yaml"
    count = ["--n_images", str(PARTICLES)]
    must(ours("simulate", "--config", molecule, "--out", "data", *count), folder)
    small = {"width": 32, "layers": 1}
    config = {
        "trainer": {
            "accelerator": "cpu",
            "max_epochs": EPOCHS,
            "default_root_dir": "run",
            "enable_progress_bar": False,
        },
        "model": {
            "class_path": "HeterogeneousReconstruction",
            "init_args": {
                "conformation_dim": ZDIM,
                "encoder": {"class_path": "MLPEncoder", "init_args": small},
                "decoder": {"class_path": "ImplicitDecoder", "init_args": small},
            },
        },
        "data": {
            "class_path": "ParticleData",
            "init_args": {
                "particles": "data/particles.mrcs",
                "poses": "data/poses.pkl",
                "ctf": "data/ctf.pkl",
                "batch_size": 16,
            },
        },
    }
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    must(ours("fit", "--config", "run.yaml"), folder)


def train_there(folder: Path, cryodrgn: Path) -> None:
    """Trains cryoDRGN's model on the same particles."""
    options = [f"--{name}-{size}" for name in ("enc", "dec") for size in ("dim=32", "layers=1")]
    files = ["--poses", "data/poses.pkl", "--ctf", "data/ctf.pkl"]
    sizes = ["--zdim", str(ZDIM), "-n", str(EPOCHS), "-o", "theirs"]
    must(
        [cryodrgn, "train_vae", "data/particles.mrcs", *files, *sizes, *options, "--no-analysis"],
        folder,
    )


def try_programs(folder: Path, cryodrgn: Path, source: str, workdir: str) -> list[Outcome]:
    """Runs cryoDRGN's programs on an exported folder."""
    weights, config = f"{workdir}/weights.{EPOCHS}.pkl", f"{workdir}/config.yaml"
    z, tables = f"{workdir}/z.{EPOCHS}.pkl", [f"{workdir}/{name}.pkl" for name in ("poses", "ctf")]
    analysis = f"{workdir}/analyze.{EPOCHS}"
    read = ["data/particles.mrcs", weights, "-c", config, "--poses", tables[0], "--ctf", tables[1]]
    read += ["-o", f"{workdir}/loss.pkl", "--out-z", f"{workdir}/z_again.pkl"]
    path = [z, "--anchors", f"{analysis}/kmeans3/centers_ind.txt"]
    # So few particles need more neighbours than the default for a path between all anchors.
    path += ["--max-neighbors", "100", "--avg-neighbors", "50"]
    path += ["--outtxt", f"{workdir}/path.txt", "--outind", f"{workdir}/path.ind.txt"]
    programs: dict[str, tuple[list[str], str]] = {
        "analyze": ([workdir, str(EPOCHS), "--ksample", "3"], f"{analysis}/kmeans3/vol_001.mrc"),
        "eval_vol": (
            [weights, "-c", config, "-o", f"{workdir}/zero.mrc", "-z", *["0"] * ZDIM],
            f"{workdir}/zero.mrc",
        ),
        "eval_images": (read, f"{workdir}/z_again.pkl"),
        "pc_traversal": ([z, "--outdir", f"{workdir}/pcs"], f"{workdir}/pcs/pc1.txt"),
        "graph_traversal": (path, f"{workdir}/path.txt"),
    }
    outcomes = []
    for name, (words, wrote) in programs.items():
        good, said = run([cryodrgn, name, *words], folder)
        there = (folder / wrote).is_file()
        if not (good and there):
            print(f"{name}:\n{said[-3000:]}", file=sys.stderr)
        outcomes.append(Outcome(source, name, good and there, wrote.split("/", 1)[1]))
    return [*outcomes, try_dashboard(folder, cryodrgn, source, workdir)]


def try_dashboard(folder: Path, cryodrgn: Path, source: str, workdir: str) -> Outcome:
    """Starts the dashboard, asks it for its first page, and ends it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    start, status = time.perf_counter(), 0
    words = [cryodrgn, "dashboard", workdir, "--no-browser", "--port", str(port)]
    with subprocess.Popen(
        [str(word) for word in words],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        while status != 200 and time.perf_counter() - start < 180 and server.poll() is None:
            time.sleep(1)
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
                    status = page.status
            except OSError:
                continue
        server.terminate()
    return Outcome(source, "dashboard", status == 200, f"HTTP {status}")


def make_table(outcomes: Sequence[Outcome], cryodrgn_version: str) -> str:
    """A page of Markdown."""
    lines = [
        "# cryoDRGN's programs on exported runs",
        "",
        f"{cryodrgn_version}; {PARTICLES} simulated particles of {BOX} pixels, {EPOCHS} epochs, "
        f"Z = {ZDIM}. Made by `python benchmarks/interop/accepted.py CRYODRGN --out "
        "benchmarks/interop/accepted.md`.",
        "",
        "| run trained by | program | accepted | wrote |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {o.source} | `{o.program}` | {'yes' if o.accepted else 'NO'} | `{o.wrote}` |"
        for o in outcomes
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cryodrgn", type=Path, help="cryoDRGN's executable")
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    cryodrgn = options.cryodrgn.absolute()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train_here(folder)
        train_there(folder, cryodrgn)
        outcomes = []
        for source, trained in (("cryo-disentangle", "run"), ("cryoDRGN", "theirs")):
            workdir = f"exported_{trained}"
            must(ours("export", trained, "--out", workdir), folder)
            outcomes += try_programs(folder, cryodrgn, source, workdir)
        table = make_table(outcomes, run([cryodrgn, "--version"], folder)[1].strip())
    print(table)
    if options.out is not None:
        options.out.write_text(table)
    sys.exit(0 if all(outcome.accepted for outcome in outcomes) else 1)


if __name__ == "__main__":
    main()
