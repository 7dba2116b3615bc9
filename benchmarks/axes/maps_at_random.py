"""How often maps at the ends of an axis that means nothing are said to differ.

    python benchmarks/axes/maps_at_random.py

Latents are drawn at random, so that particles at both ends are alike, and their maps are compared
as `axes` does. Writes results/maps_at_random.csv, a row a signal-to-noise ratio. The molecule
moves far: TwoArms, 600 images of 16 pixels.
"""

from __future__ import annotations

import csv
import platform
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.maps.making import map_axis
from cryo_disentangle.maps.particles import ImageFiles, open_embedded_images
from cryo_disentangle.simulation import (
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)

RESULTS = Path(__file__).parent / "results/maps_at_random.csv"
COUNT, SIDE, PIXEL_SIZE, DRAWS = 600, 16, 8.5, 200


def alarms(snr: float) -> list[bool]:
    """Whether each pair of maps was said to differ."""
    scope = Microscope(UniformViews(), None, None, WhiteNoise(snr))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = (COUNT, SIDE, PIXEL_SIZE)
        Simulation(TwoArms(), UniformFactors(2), scope, *sizes, seed=3).write(folder)
        everybody = Embedding("none", folder, np.zeros((COUNT, 1)), rows=np.arange(COUNT))
        files = ImageFiles(folder / "particles.mrcs", folder / "poses.pkl")
        images = open_embedded_images(everybody, files)
        drawn = (np.random.default_rng(seed).normal(size=COUNT) for seed in range(DRAWS))
        return [map_axis("axis1", value, None, images).difference.significant for value in drawn]


def main() -> None:
    torch.set_num_threads(1)
    git = ["git", "-C", str(RESULTS.parent), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    with RESULTS.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["snr", "images", "box", "maps", "alarms", "commit", "machine"])
        for snr in (2.0, 0.1):
            row = [snr, COUNT, SIDE, DRAWS, sum(alarms(snr)), commit, platform.machine()]
            table.writerow(row)
            print(*row, flush=True)


if __name__ == "__main__":
    main()
