"""Figure 3 of Klindt et al. 2024: pose interventions where in-plane poses are not known.

    python benchmarks/paper/figure3.py --scratch runs/paper [--seeds 10]

PoseVAE and VAE of benchmarks/losses/in_plane.py, one training a seed, without restarts. Two minutes
a seed on one core; seeds 5 to 9 can run beside the first with ``--seeds 5 --first-seed 5``. Writes
results/figure3.csv, a row each as it comes, and figure3.png. Rows that are there are kept.
"""

from __future__ import annotations

import numpy as np
from drawing import compare, draw_measures, draw_scatter, options, panels, save
from harness import latents_of, read, run
from in_plane import METHODS, SIMULATION

_METHODS = ("VAE", "PoseVAE")
_MEASURES = {
    "reconstruction": ("reconstruction, held out", -1),
    "kl": ("KL, nats", -1),
    "eq2_z": ("Eq. 2, z, relative", -1),
    "eq2_pose": ("Eq. 2, pose, relative", -1),
    "mcc_all": ("MCC, z and pose", 1),
    "mcc": ("MCC, z alone", 1),
    "leak": ("R² of z from the pose", -1),
}


def main() -> None:
    """Trains, prints the comparison and draws the figure."""
    chosen = options(__doc__, seeds=10)
    methods = [method for method in METHODS if method.name in _METHODS]
    run("figure3", SIMULATION, methods, chosen, keep_latents=True)
    rows = read(chosen.out / "figure3.csv")
    print(compare(rows, "PoseVAE", "VAE", _MEASURES))
    figure, axes = panels(3, 4)
    draw_measures([*axes[0], *axes[1]], rows, _METHODS, _MEASURES)
    axes[1][3].set_axis_off()
    for place, method in enumerate(_METHODS):
        found = np.load(latents_of(chosen.scratch, "figure3", method))
        pair = axes[2][2 * place : 2 * place + 2]
        draw_scatter(pair[0], found["z"], found["angle"], f"{method}: true pose", cyclic=True)
        draw_scatter(pair[1], found["z"], found["factors"][:, 0], f"{method}: first factor")
    save(figure, "figure3", chosen.out)


if __name__ == "__main__":
    main()
