"""Figure 5B of Klindt et al. 2024: a decoder of atoms whose coordinates are angles of hinges.

    python benchmarks/paper/figure5b.py --scratch runs/paper [--seeds 5]

Two arms whose hinge angles are the factors turned by 45 degrees, known in-plane poses, as in
benchmarks/decoders/identifiability.py: a decoder that has the atoms and hinges, one that has the
atoms and learns the hinges, and a basis of volumes. A minute and a half a training on one core.
Writes results/figure5b.csv, a row each as it comes, and figure5b.png. Rows that are there are kept.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from drawing import draw_seeds, options, panels, save
from harness import latents_of, read, run, two_arms_in_plane

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.simulation import TwoArms, UniformFactors

sys.path.append(str(Path(__file__).parents[1] / "decoders"))
from identifiability import MIXING, angles, atomic, in_plane_method

_METHODS = ("basis", "hinges learned", "hinges given")


def main() -> None:
    """Trains, prints the table and draws the figure."""
    chosen = options(__doc__, seeds=5)
    simulation = two_arms_in_plane(UniformFactors(2, -1.0, 1.0), 10.0, MIXING)
    molecule = cast(TwoArms, simulation.molecule)
    decoders = (BasisDecoder, atomic(molecule, given=False), atomic(molecule, given=True))
    run(
        "figure5b",
        simulation,
        [in_plane_method(*method) for method in zip(_METHODS, decoders, strict=True)],
        chosen,
        restarts=2,
        diagnose=partial(angles, mixing=MIXING),
        keep_latents=True,
    )
    rows = read(chosen.out / "figure5b.csv")
    figure, axes = panels(1, 4, size=3.0)
    draw_seeds(axes[0][0], rows, _METHODS, "mcc_hinges", "MCC of z and angles")
    for place, method in enumerate(_METHODS, start=1):
        found = np.load(latents_of(chosen.scratch, "figure5b", method))
        arms = MIXING.mix(torch.from_numpy(found["factors"])).numpy()
        nearest = int(np.abs(np.corrcoef(found["z"].T, arms.T)[:2, 2]).argmax())
        axes[0][place].plot(arms[:, 0], found["z"][:, nearest], ".", markersize=1)
        axes[0][place].set(xlabel="true angle of the first arm", ylabel=f"z{nearest + 1}")
        axes[0][place].set_title(method, fontsize=10)
    save(figure, "figure5b", chosen.out)


if __name__ == "__main__":
    main()
