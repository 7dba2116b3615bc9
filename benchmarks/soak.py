"""Memory and open files of a whole job on many particles: simulate, fit, predict, evaluate.

    python benchmarks/soak.py [--particles 200000] [--epochs 3] [--folder DIR] [--out soak.md]

Each command runs in a process of its own, which is looked at from outside (Linux) until it ends:
its anonymous memory, pages of mapped files, which the operating system takes back when it needs
them, and how many files it has open. `fit` has a row for each epoch, the first one with the start;
it ends with an error if a later epoch needs over 5 % more memory than the first.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
SIMULATION = ROOT / "configs" / "simulate" / "two_arm.yaml"
TRAINING = ROOT / "configs" / "two_arm.yaml"
PERIOD_S = 0.2
ALLOWED = 1.05


@dataclass
class Peaks:
    """Peaks of a command, or of one of its epochs.

    Attributes:
        anonymous: RssAnon in MiB: heap, stacks, private pages.
        mapped: RssFile in MiB.
        files: Open files.
        seconds: How long it took.
    """

    anonymous: float = 0.0
    mapped: float = 0.0
    files: int = 0
    seconds: float = 0.0

    def look(self, process: int) -> None:
        """Takes a process as it is now."""
        folder = Path("/proc") / str(process)
        status = (folder / "status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
        # A process that has just ended has no memory any more.
        if "RssAnon" not in fields:
            return
        self.anonymous = max(self.anonymous, int(fields["RssAnon"].split()[0]) / 1024)
        self.mapped = max(self.mapped, int(fields["RssFile"].split()[0]) / 1024)
        self.files = max(self.files, len(list((folder / "fd").iterdir())))


def run(words: list[str], log: Path, checkpoint: Path | None = None) -> list[Peaks]:
    """Runs a command; a new row begins whenever the checkpoint is written anew."""
    rows, written, start = [Peaks()], 0, time.perf_counter()
    command = [sys.executable, "-m", "cryo_disentangle", *words]
    with log.open("a") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=ROOT)
        while process.poll() is None:
            changed = checkpoint.stat().st_mtime_ns if checkpoint and checkpoint.exists() else 0
            if changed != written:
                written = changed
                rows.append(Peaks())
            try:
                rows[-1].look(process.pid)
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            now = time.perf_counter()
            rows[-1].seconds, last = rows[-1].seconds + now - start, now
            start = last
            time.sleep(PERIOD_S)
    if process.returncode:
        sys.exit(f"{words[0]} ended with status {process.returncode}: see {log}")
    return rows


def commands(folder: Path, particles: int, epochs: int) -> dict[str, list[str]]:
    """The job."""
    data, fitted = folder / "data", folder / "run"
    simulate = f"--config={SIMULATION} --n_images={particles} --seed=0 --out={data}"
    fit = f"""--config={TRAINING} --data.particles={data}/particles.star --data.batch_size=256
        --trainer.default_root_dir={fitted} --trainer.max_epochs={epochs}
        --trainer.enable_progress_bar=false --trainer.callbacks=[] --model.encoder=MLPEncoder
        --model.encoder.width=128 --model.encoder.layers=2 --model.decoder=BasisDecoder
        --model.decoder.rank=4"""
    predict = f"--config={fitted}/config.yaml --trainer.enable_progress_bar=false"
    evaluate = f"{fitted} --truth={data}/truth.npz"
    job = {"simulate": simulate, "fit": fit, "predict": predict, "evaluate": evaluate}
    return {command: [command, *words.split()] for command, words in job.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--particles", type=int, default=200_000)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the job is done for a while")
    parser.add_argument("--log", type=Path, default=Path("soak.log"), help="what commands print")
    args = parser.parse_args()
    print(f"{args.particles} particles of 32 px, {args.epochs} epochs, torch {torch.__version__}\n")
    print("| command | anonymous memory, MiB | mapped files, MiB | open files | seconds |")
    print("|---|---|---|---|---|")
    epochs: list[Peaks] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        checkpoint = folder / "run" / "checkpoints" / "last.ckpt"
        for command, words in commands(folder, args.particles, args.epochs).items():
            rows = run(words, args.log, checkpoint if command == "fit" else None)
            # What comes after the last epoch is part of it.
            names = [f"{command}, epoch {i + 1}" for i in range(args.epochs)] + [f"{command}, end"]
            for row, title in zip(rows, names if command == "fit" else [command], strict=False):
                sizes = f"{row.anonymous:.0f} | {row.mapped:.0f} | {row.files}"
                print(f"| {title} | {sizes} | {row.seconds:.0f} |", flush=True)
            epochs = rows if command == "fit" else epochs
    ratio = max(row.anonymous for row in epochs[1:]) / epochs[0].anonymous
    print(f"\nanonymous memory of fit, later epochs over the first: {ratio:.3f}")
    if ratio > ALLOWED:
        sys.exit(f"expected at most {ALLOWED}")


if __name__ == "__main__":
    main()
