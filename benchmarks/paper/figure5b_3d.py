"""Figure 5B of Klindt et al. 2024 in three dimensions: atoms on hinges, and a basis of volumes.

    OMP_NUM_THREADS=1 python benchmarks/paper/figure5b_3d.py --data runs/full/data

The stack adk_snr0.1 of `three_dimensions.py`, whose factors each move both hinges, its random
halves and its scored particles. The basis is the variational autoencoder there, on statistics in
three volumes. Decoders of atoms are those of benchmarks/decoders/adk.py without an encoder, a
Gaussian a residue, and render images, since no few volumes hold hinges that are still to be found.
The MCC is with the hinges, and the oracles' posterior means of the factors are mixed as factors
are. Writes results/figure5b_3d.csv, a row each as it comes, and figure5b_3d.png. Rows that are
there are kept.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drawing import draw_oracles, draw_seeds, panels, save
from three_dimensions import RESULTS, STEPS, Particles, grow, inferred, take_steps, train
from torch import Tensor

from cryo_disentangle.held_out.oracle import posterior_of_stack, posterior_of_statistics
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.metrics.functional import mcc, r2_linear
from cryo_disentangle.particles.preprocessing import HartleyPreprocessing
from cryo_disentangle.priors import StandardNormal
from cryo_disentangle.simulation import AdenylateKinase

sys.path.append(str(Path(__file__).parents[1] / "decoders"))
from adk import Recipe, atomic

_METHODS = ("basis", "hinges learned", "hinges given")
_HINGES, _SNR = ("NMP", "LID"), 0.4
_BATCH, _AT_ONCE = 32, 250


class Images:
    """The stack behind the statistics.

    Args:
        folder: That ``simulate`` wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.source = SimulatedFolder(folder)
        self.data = self.source.dataset(self.source.fit(HartleyPreprocessing()))

    def mixed(self, factors: Tensor) -> Tensor:
        """Coordinates of both hinges, shape (N, 2)."""
        _, mixing = self.source.molecule()
        return factors if mixing is None else mixing.mix(factors.double())

    def train(self, rows: Tensor, seed: int, *, given: bool) -> Any:  # noqa: ANN401
        """Trains a decoder of atoms."""
        torch.manual_seed(seed)
        decoder = atomic(AdenylateKinase(), self.source.pixel_size, given=given)
        recipe = Recipe(decoder, encodes=False, snr=_SNR)
        model = recipe(self.source, STEPS)
        take_steps(self.data, rows, model, STEPS, rate=recipe.rate, size=_BATCH)
        return model.eval()

    @torch.no_grad()
    def inferred(self, model: Any, rows: Tensor) -> Tensor:  # noqa: ANN401
        """Conformations of some particles."""
        parts = [self.data.__getitems__(some.tolist()) for some in rows.split(_AT_ONCE)]
        return torch.cat([model.infer(part).mean for part in parts])


def latents(particles: Particles, images: Images, seed: int) -> dict[str, Tensor]:
    """Latents of the scored particles by each method."""
    rows, scored = particles.half_of_them(seed), particles.scored
    basis = train(particles, rows, seed, StandardNormal())
    found = {"basis": torch.as_tensor(inferred(basis, particles, scored).latents)}
    for method in _METHODS[1:]:
        model = images.train(rows, seed, given=method == "hinges given")
        found[method] = images.inferred(model, scored)
    return found


def oracles(particles: Particles, images: Images) -> dict[str, float]:
    """MCC of the oracles' posterior means with the hinges."""
    rows, factors = particles.scored, particles.factors
    means = {
        "true molecule": posterior_of_stack(images.source, rows.numpy()),
        "subspace": posterior_of_statistics(particles.folder.statistics, factors, rows),
    }
    truth = images.mixed(factors[rows])
    return {called: float(mcc(images.mixed(mean), truth)) for called, mean in means.items()}


def main() -> None:
    """Trains, prints the table and draws the figure."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder data of a benchmark")
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    particles = Particles.open(chosen.data, "adk_snr0.1")
    images = Images(chosen.data / "adk_snr0.1/seed_0")
    hinges = images.mixed(particles.factors[particles.scored])

    def made(seed: int) -> dict[str, Any]:
        return {
            method: {"mcc_hinges": float(mcc(z, hinges)), "r2": float(r2_linear(z, hinges))}
            for method, z in latents(particles, images, seed).items()
        }

    rows = grow("figure5b_3d", list(_METHODS), chosen.seeds, made)
    figure, axes = panels(1, 4, size=3.0)
    draw_seeds(axes[0][0], rows, _METHODS, "mcc_hinges", "MCC of z and hinges")
    best = oracles(particles, images)
    for called, score in best.items():
        print(f"oracle, {called}: {score:.3f}")
    draw_oracles(axes[0][0], best)
    axes[0][0].legend(fontsize=7, loc="lower right")
    for panel, (method, z) in zip(axes[0][1:], latents(particles, images, 0).items(), strict=True):
        nearest = int(np.abs(np.corrcoef(z.T, hinges.T)[:2, 3]).argmax())
        panel.plot(hinges[:, 1], z[:, nearest], ".", markersize=1)
        panel.set(xlabel=f"true coordinate of {_HINGES[1]}", ylabel=f"z{nearest + 1}")
        panel.set_title(method, fontsize=10)
    save(figure, "figure5b_3d", RESULTS)
    for method in _METHODS:
        mine = [row for row in rows if row["method"] == method]
        found = [np.array([float(row[name]) for row in mine]) for name in ("mcc_hinges", "r2")]
        words = [f"{np.median(each):.3f} ({each.min():.3f}-{each.max():.3f})" for each in found]
        print(f"| {method} | {' | '.join(words)} |")


if __name__ == "__main__":
    main()
