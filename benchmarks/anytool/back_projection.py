"""Back-projects one stack by us and by cryoDRGN in the same run, and compares maps and seconds.

    cd benchmarks/anytool && python back_projection.py --out results/back_projection.csv

cryoDRGN (4.3.1 was tried) is found on the PATH, or its program is named by the environment variable
CRYODRGN. Both make two half maps and their FSC of the same images, each in a process of its own
with one thread, from start to files written. Seconds of the processor are less noisy than those of
the clock where others work.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files import read_volume, write_volume
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.maps.half_maps import make_half_maps, soft_sphere
from cryo_disentangle.maps.particles import ImageFiles, open_embedded_images
from cryo_disentangle.simulation import (
    AdenylateKinase,
    ContrastTransferRange,
    FactorPath,
    Microscope,
    NormalShifts,
    Simulation,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.statistics.making import half_sets

CONFORMATION = (0.3, 0.7)
PIXEL_SIZE = {32: 3.4, 64: 1.7, 128: 0.85}


def simulate(folder: Path, count: int, side: int, snr: float) -> None:
    scope = Microscope(
        UniformViews(), NormalShifts(1.0), ContrastTransferRange((5000.0, 15000.0)), WhiteNoise(snr)
    )
    path = FactorPath([CONFORMATION, CONFORMATION])
    sizes = (count, side, PIXEL_SIZE[side])
    Simulation(AdenylateKinase(), path, scope, *sizes, seed=1).write(folder)


def ours(folder: Path) -> None:
    """What is timed: from files to files."""
    count = len(np.load(folder / "truth.npz")["factors"])
    particles = Embedding("all", folder, np.zeros((count, 1)), rows=np.arange(count))
    files = ImageFiles(folder / "particles.mrcs", folder / "poses.pkl", folder / "ctf.pkl")
    images = open_embedded_images(particles, files)
    found = make_half_maps(images, half_sets(count, 0), torch.arange(count))
    for name, volume in (("full", found.full), ("half1", found.halves[0])):
        write_volume(folder / f"ours_{name}.mrc", volume.numpy(), images.stack.pixel_size)
    write_volume(folder / "ours_half2.mrc", found.halves[1].numpy(), images.stack.pixel_size)


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds of the processor and of the clock."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return busy, time.perf_counter() - started


def least(first: Tensor, second: Tensor, *, inner: bool = False) -> float:
    """Smallest FSC of the shells up to half the Nyquist frequency.

    Within a soft sphere of nine tenths of the box, or of six, which holds the molecule.
    """
    side = first.shape[-1]
    mask = soft_sphere(side)
    if inner:
        axis = (torch.arange(side) - side // 2).square()
        distance = (axis[:, None, None] + axis[:, None] + axis).float().sqrt()
        mask = ((0.3 * side - distance) / (0.05 * side) + 1).clamp(0, 1)
    correlation = fourier_shell_correlation(first * mask, second * mask)
    return float(correlation[1 : side // 4 + 1].min())


def row(program: str, count: int, side: int, snr: float) -> dict[str, object]:
    folder = Path(tempfile.mkdtemp())
    try:
        simulate(folder, count, side, snr)
        ours_cpu, ours_wall = timed([sys.executable, __file__, "--ours", str(folder)])
        command = [program, "backproject_voxel", str(folder / "particles.mrcs")]
        command += ["--poses", str(folder / "poses.pkl"), "--ctf", str(folder / "ctf.pkl")]
        theirs_cpu, theirs_wall = timed([*command, "-o", str(folder / "theirs")])
        names = ("ours_full.mrc", "theirs/backproject.mrc")
        found, other = (torch.from_numpy(read_volume(folder / name)[0]) for name in names)
    finally:
        shutil.rmtree(folder)
    true = AdenylateKinase().volume(torch.tensor([CONFORMATION]), side, PIXEL_SIZE[side])[0]
    return {
        "images": count,
        "box": side,
        "snr": snr,
        "seed": 1,
        "least_fsc_with_cryodrgn": f"{least(found, other):.4f}",
        "inner_least_fsc_with_cryodrgn": f"{least(found, other, inner=True):.4f}",
        "least_fsc_with_truth": f"{least(found, true):.4f}",
        "cryodrgn_least_fsc_with_truth": f"{least(other, true):.4f}",
        "cpu_seconds": f"{ours_cpu:.1f}",
        "cryodrgn_cpu_seconds": f"{theirs_cpu:.1f}",
        "seconds": f"{ours_wall:.1f}",
        "cryodrgn_seconds": f"{theirs_wall:.1f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--ours", type=Path, help="back-project the stack of this folder, and stop")
    parser.add_argument("--images", type=int, default=3000)
    parser.add_argument("--box", type=int, default=64, choices=list(PIXEL_SIZE))
    parser.add_argument("--snr", type=float, default=1.0)
    options = parser.parse_args()
    if options.ours is not None:
        ours(options.ours)
        return
    program = os.environ.get("CRYODRGN") or shutil.which("cryodrgn")
    if program is None:
        print("skipped: no cryodrgn on the PATH, nor named by the environment variable CRYODRGN")
        return
    os.environ["OMP_NUM_THREADS"] = "1"
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    found = row(program, options.images, options.box, options.snr)
    found |= {"commit": commit, "machine": platform.machine(), "torch": torch.__version__}
    print(found)
    if options.out is not None:
        new = not options.out.exists()
        with options.out.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(found), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(found)


if __name__ == "__main__":
    main()
