"""Time, memory and page of ``evaluate`` of a million latents of ten coordinates, without images.

python benchmarks/anytool/million.py FOLDER
"""

from __future__ import annotations

import pickle
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

COUNT, WIDTH = 1_000_000, 10


def main(folder: Path) -> None:
    generator = np.random.default_rng(0)
    z = generator.normal(size=(COUNT, WIDTH)).astype(np.float32)
    np.savez(folder / "z.npz", latents=z, row=np.arange(COUNT), log_variance=np.zeros_like(z) - 1)
    shift = generator.normal(0, 0.02, (COUNT, 2)).astype(np.float32)
    ctf = np.zeros((COUNT, 9), np.float32)
    ctf[:] = 64, 1.5, 0, 0, 0, 300, 2.7, 0.1, 0
    ctf[:, 2:4] = generator.uniform(8e3, 3e4, (COUNT, 1))
    rotation = Rotation.random(COUNT, random_state=1).as_matrix().astype(np.float32)
    for name, what in (("poses", (rotation, shift)), ("ctf", ctf)):
        with (folder / f"{name}.pkl").open("wb") as file:
            pickle.dump(what, file, protocol=4)
    words = ["evaluate", "z.npz", "--poses", "poses.pkl", "--ctf", "ctf.pkl", "--out", "out"]
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "cryo_disentangle", *words],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    page = (folder / "out/report.html").stat().st_size / 1e6
    print(f"{seconds:.0f} s, {peak:.2f} GiB, page {page:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
