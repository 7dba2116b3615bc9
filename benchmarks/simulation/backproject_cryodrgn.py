"""Back-projects our stacks with cryoDRGN and compares the volumes with the true densities.

    python benchmarks/simulation/backproject_cryodrgn.py --out benchmarks/simulation/backproject.md

cryoDRGN (4.3.1 was tried) is found on the PATH, or its program is named by the environment variable
CRYODRGN. Rotation convention, handedness, translations, CTF and sign of our files are right if the
Fourier shell correlation with the true density is high, and low with its mirror images.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from cryo_disentangle.files import read_volume
from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.simulation import (
    AdenylateKinase,
    ContrastTransferRange,
    FactorPath,
    GaussianMolecule,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformViews,
    WhiteNoise,
)


@dataclass(frozen=True)
class Case:
    """A molecule in one conformation."""

    name: str
    molecule: GaussianMolecule
    conformation: tuple[float, float]
    box_size: int
    pixel_size: float
    noise: WhiteNoise | None
    with_ctf: bool = True

    @property
    def simulation(self) -> Simulation:
        """The stack."""
        ctf = ContrastTransferRange((5000.0, 15000.0)) if self.with_ctf else None
        scope = Microscope(UniformViews(), NormalShifts(1.0), ctf, self.noise)
        fixed = FactorPath([self.conformation, self.conformation])
        sizes = (10_000, self.box_size, self.pixel_size)
        return Simulation(self.molecule, fixed, scope, *sizes, seed=1)


CASES = [
    Case("two arms, no CTF, no noise", TwoArms(), (0.5, -0.4), 64, 2.2, None, with_ctf=False),
    Case("two arms, CTF, no noise", TwoArms(), (0.5, -0.4), 64, 2.2, None),
    Case("two arms, CTF, SNR 1", TwoArms(), (0.5, -0.4), 64, 2.2, WhiteNoise(1.0)),
    Case("adenylate kinase, CTF, no noise", AdenylateKinase(), (0.3, 0.7), 64, 1.6, None),
    Case("adenylate kinase, CTF, SNR 1", AdenylateKinase(), (0.3, 0.7), 64, 1.6, WhiteNoise(1.0)),
    Case("adenylate kinase, CTF, SNR 0.1", AdenylateKinase(), (0.3, 0.7), 64, 1.6, WhiteNoise(0.1)),
]


def back_project(program: str, case: Case, folder: Path) -> Tensor:
    """Writes the stack and has cryoDRGN reconstruct it."""
    case.simulation.write(folder)
    command = [
        program,
        "backproject_voxel",
        str(folder / "particles.mrcs"),
        "--poses",
        str(folder / "poses.pkl"),
        "--outdir",
        str(folder / "volume"),
        "--no-half-maps",
        "--ctf-alg",
        "mul",
    ]
    if case.with_ctf:
        command += ["--ctf", str(folder / "ctf.pkl")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    volume, _ = read_volume(folder / "volume" / "backproject.mrc")
    return torch.from_numpy(volume)


def mirrored(volume: Tensor) -> list[Tensor]:
    """Mirror images in the three planes of the axes, and in the origin; voxel D / 2 stays."""
    planes = [volume.flip(axis).roll(1, axis) for axis in range(3)]
    return [*planes, volume.flip(0, 1, 2).roll((1, 1, 1), (0, 1, 2))]


def row(program: str, case: Case) -> str:
    """Measures one case."""
    folder = Path(tempfile.mkdtemp())
    try:
        found = back_project(program, case, folder)
    finally:
        shutil.rmtree(folder)
    true = case.molecule.volume(torch.tensor([case.conformation]), case.box_size, case.pixel_size)[
        0
    ]
    half = case.box_size // 4
    correlation = fourier_shell_correlation(found, true)
    mirror = max(
        float(fourier_shell_correlation(found, other)[1 : half + 1].mean())
        for other in mirrored(true)
    )
    overlap = float((found * true).sum() / (true * true).sum())
    cells = [
        case.name,
        case.box_size,
        f"{float(correlation[1 : half + 1].min()):.4f}",
        1 + int(correlation[1 : half + 1].argmin()),
        f"{float(correlation[1 : half + 1].mean()):.4f}",
        f"{mirror:.2f}",
        "positive" if overlap > 0 else "negative",
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    program = os.environ.get("CRYODRGN") or shutil.which("cryodrgn")
    if program is None:
        print("skipped: no cryodrgn on the PATH, nor named by the environment variable CRYODRGN")
        return
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    lines = [
        "# Our stacks, back-projected by cryoDRGN",
        "",
        f"Commit {commit}, {platform.machine()}, torch {torch.__version__}; "
        f"`python {' '.join(sys.argv)}`, `cryodrgn backproject_voxel --ctf-alg mul`, 10,000 images "
        "each, one conformation, uniform views, shifts of 1 pixel, seed 1. FSC with the true "
        "density over the shells up to half the Nyquist frequency; *mirror* is the largest mean "
        "FSC with a mirror image.",
        "",
        "| stack | D | smallest FSC | at shell | mean FSC | mirror | density |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in CASES:
        lines.append(row(program, case))
        print(lines[-1], flush=True)
    lines += [
        "",
        "With noise, the shells near half Nyquist are limited by the number of images: Gaussians "
        "of 4 Å and 2 Å have little power there.",
    ]
    if arguments.out is not None:
        arguments.out.write_text("\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
