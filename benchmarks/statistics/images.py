"""Models of images on a setting's stack: an encoder, and the posterior found by rendering.

    python benchmarks/statistics/images.py --setting pairs --seed 2 --scratch SCRATCH

Decoder, encoder and training are those of losses/known_poses.py. Appends rows to images.csv, scored
as run.py scores latents of statistics.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from errors import draw_errors
from held_out import COUNT, image_held_out, latents_of_images
from learning import latent_scores
from settings import SETTINGS
from tables import append

sys.path.append(str(Path(__file__).parents[1] / "losses"))
from harness import Method, train
from known_poses import RENDERING_STEPS, STEPS, make_model

RESULTS = Path(__file__).parent / "images.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(SETTINGS), default="pairs")
    parser.add_argument("--snr", type=float, default=0.1, help="of the setting")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, required=True, help="folder for stacks")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table that grows by a row")
    options = parser.parse_args()
    setting = SETTINGS[options.setting]
    simulation = setting.simulate(options.seed)
    stack = options.scratch / f"{options.setting}_{options.seed}"
    if not (stack / "contact_sheet.png").exists():
        simulation.write(stack)
    error = draw_errors(setting.errors, COUNT, options.seed)
    particles, seen = image_held_out(simulation, setting, error)
    for name, encodes, steps in (
        ("image encoder", True, STEPS),
        ("rendered posterior", False, RENDERING_STEPS),
    ):
        made = partial(make_model, snr=options.snr, encodes=encodes, intervenes=False)
        model, data, found = train(stack, Method(name, made, steps), [options.seed])
        z = [
            latents_of_images(model, seen[kind], data.preprocessing)
            for kind in ("own", "noisy", "moved")
        ]
        row: dict[str, object] = {
            "setting": options.setting,
            "seed": options.seed,
            "method": name,
            "seconds": found["seconds"],
            **latent_scores(z[0], z[1], z[2], particles.factors, particles.rotation),
        }
        append(row, options.out)
        print(row, flush=True)


if __name__ == "__main__":
    main()
