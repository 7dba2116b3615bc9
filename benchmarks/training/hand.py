"""Trains on cryoDRGN's test stack `hand` and compares volumes with cryoDRGN's back-projection.

    python benchmarks/training/hand.py --data DATA --out benchmarks/training/hand.md

DATA is the folder with cryoDRGN's hand.mrcs, hand_rot.pkl, hand_rot_trans.pkl and hand-vol.mrc.
cryoDRGN (4.3.1 was tried) is found on the PATH, or its program is named by the environment variable
CRYODRGN. The back-projection uses hand_rot.pkl and no model: it is the independent judge of both
our volumes and hand-vol.mrc. About six minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from itertools import permutations
from pathlib import Path

import torch
from torch import Tensor

from cryo_disentangle.files import read_volume
from cryo_disentangle.imaging.fsc import fourier_shell_correlation

CONFIG = Path(__file__).parents[2] / "configs" / "hand.yaml"


def read_tensor(path: Path) -> Tensor:
    """Reads a volume."""
    return torch.from_numpy(read_volume(path)[0])


def agreement(volume: Tensor, reference: Tensor) -> float:
    """Mean FSC over shells 1 to half of Nyquist."""
    shells = fourier_shell_correlation(volume, reference)
    return float(shells[1 : volume.shape[0] // 4 + 1].mean())


def best_agreement(volume: Tensor, reference: Tensor) -> float:
    """The best of all 48 ways to permute and mirror the axes."""
    return max(
        agreement(volume.permute(axes).flip([a for a in range(3) if mirrored >> a & 1]), reference)
        for axes in permutations(range(3))
        for mirrored in range(8)
    )


def back_project(program: str, data: Path, folder: Path) -> Tensor:
    """Has cryoDRGN reconstruct the stack."""
    command = [program, "backproject_voxel", data / "hand.mrcs", "--poses", data / "hand_rot.pkl"]
    options = ["--uninvert-data", "--no-half-maps", "--outdir", folder]
    subprocess.run([*map(str, command + options)], check=True, stdout=subprocess.DEVNULL)
    return read_tensor(next(folder.glob("*.mrc")))


def train(data: Path, poses: str, folder: Path) -> tuple[Tensor, float]:
    """Our volume of the stack, at the latent of the middle, and the held-out reconstruction."""
    program = [sys.executable, "-m", "cryo_disentangle"]
    files = ["--data.particles", data / "hand.mrcs", "--data.poses", data / poses]
    reference = ["--trainer.callbacks.reference_volume", data / "hand-vol.mrc"]
    run = ["--trainer.default_root_dir", folder]
    fit = [*program, "fit", "--config", CONFIG, *files, *reference, *run]
    subprocess.run([*map(str, fit)], check=True, stdout=subprocess.DEVNULL)
    checkpoint = ["--ckpt_path", folder / "checkpoints" / "last.ckpt"]
    predict = [*program, "predict", "--config", folder / "config.yaml", *checkpoint]
    subprocess.run([*map(str, predict)], check=True, stdout=subprocess.DEVNULL)
    volumes = sorted((folder / "prediction" / "volumes").glob("*.mrc"))
    report = json.loads((folder / "report" / "report.json").read_text())
    return read_tensor(volumes[len(volumes) // 2]), report["held-out reconstruction"]


def main() -> None:
    """Trains with both pose files and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    program = os.environ.get("CRYODRGN") or shutil.which("cryodrgn")
    if program is None:
        sys.exit("cryoDRGN is not installed: nothing to compare with")
    data = arguments.data.resolve()
    shipped = read_tensor(data / "hand-vol.mrc")
    with tempfile.TemporaryDirectory() as scratch:
        reference = back_project(program, data, Path(scratch) / "back_projection")
        rows = [
            f"| hand-vol.mrc | | {agreement(shipped, reference):.3f} "
            f"({best_agreement(shipped, reference):.3f}) | 1 |",
            f"| cryoDRGN's back-projection | | 1 | {agreement(reference, shipped):.3f} |",
        ]
        for poses in ("hand_rot.pkl", "hand_rot_trans.pkl"):
            volume, error = train(data, poses, Path(scratch) / poses)
            rows.append(
                f"| ours, {poses} | {error:.4f} | {agreement(volume, reference):.3f} "
                f"({best_agreement(volume, reference):.3f}) | {agreement(volume, shipped):.3f} |"
            )
    git = ["git", "-C", str(CONFIG.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    table = [
        "# The volume of `hand`",
        "",
        "`python benchmarks/training/hand.py --data DATA --out benchmarks/training/hand.md`, "
        f"commit {commit}, {machine}, seed 0.",
        "",
        "Mean Fourier shell correlation up to half of Nyquist; in brackets the best over all 48 "
        "permutations and mirror images of the axes. hand-vol.mrc is not the density of this "
        "stack; hand_rot_trans.pkl are less exact poses in a frame of their own.",
        "",
        "| volume | held-out reconstruction | FSC with the back-projection | with hand-vol.mrc |",
        "|---|---|---|---|",
        *rows,
    ]
    arguments.out.write_text("\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
