"""Trains cryoDRGN's ``train_vae`` on a setting's stack, and scores its latents as run.py's.

    python benchmarks/statistics/cryodrgn.py --setting pairs --seed 2 --scratch SCRATCH \
        --command PATH/TO/cryodrgn --images 14000

The wall time is given by the number of images: one epoch on the first so many of the stack.
cryoDRGN is to be installed in an environment of its own. Appends a row to cryodrgn.csv.
"""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path

import numpy as np
from errors import draw_errors
from held_out import COUNT, image_held_out, latents_of_images
from learning import latent_scores
from settings import SETTINGS
from tables import append, shown
from train_vae import train_vae

from cryo_disentangle.interop import CryoDRGNRun
from cryo_disentangle.modules import CryoDRGNReconstruction

RESULTS = Path(__file__).parent / "cryodrgn.csv"
_BATCH = 250


def train(command: Path, stack: Path, out: Path, images: int, dim: int, seed: int) -> float:
    """Trains for one epoch; returns seconds from stack to latents."""
    out.mkdir(parents=True)
    chosen = out / "ind.pkl"
    chosen.write_bytes(pickle.dumps(np.arange(images)))
    return train_vae(command, stack, out, dim, 1, "--ind", chosen, "--seed", seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(SETTINGS), default="pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, required=True, help="how many are trained on")
    parser.add_argument("--command", type=Path, required=True, help="cryoDRGN's")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for stacks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table that grows by a row")
    options = parser.parse_args()
    setting = SETTINGS[options.setting]
    simulation = setting.simulate(options.seed)
    stack = options.scratch / f"{options.setting}_{options.seed}"
    if not (stack / "contact_sheet.png").exists():
        simulation.write(stack)
    particles, seen = image_held_out(
        simulation, setting, draw_errors(setting.errors, COUNT, options.seed)
    )
    out = options.scratch / f"cryodrgn_{options.setting}_{options.seed}_{options.images}"
    dim = particles.factors.shape[1]
    seconds = train(options.command, stack, out, options.images, dim, options.seed)
    run = CryoDRGNRun.open(out)
    data = run.data(batch_size=_BATCH)
    data.setup("predict")
    module = CryoDRGNReconstruction(out, box_size=run.box_size, pixel_size=data.pixel_size).eval()
    z = [
        latents_of_images(module, seen[name], data.preprocessing)
        for name in ("own", "noisy", "moved")
    ]
    row: dict[str, object] = {
        "setting": options.setting,
        "seed": options.seed,
        "images": options.images,
        "seconds": seconds,
        **latent_scores(*z, particles.factors, particles.rotation),
    }
    append(row, options.out)
    for key, value in row.items():
        print(f"{key:24}{shown(value)}")


if __name__ == "__main__":
    main()
