"""Volumes at five conformations beside the truth, and beside back-projections.

    python benchmarks/statistics/volumes.py --setting pairs --seed 2 --scratch SCRATCH

Reads the stack and the statistics that run.py left in SCRATCH, learns on the statistics, and takes
five conformations along the first factor. A conformation's z is where the 500 particles of the
nearest true factors are likeliest together. Beside the decoder's volume stands the back-projection
of the 2,500 particles whose latents lie next to it. Appends rows to volumes.csv: mean Fourier shell
correlation with the truth up to the subspace's radius, resolution at 0.5 in Å, and the correlation
of the differences from the mean of the five, which is what the motion is.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from algorithm1 import make_model, train
from errors import draw_errors
from learning import inferred
from run import open_stack
from settings import SETTINGS
from tables import append
from torch import Tensor

from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.mean import back_project
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import view_batches

RESULTS = Path(__file__).parent / "volumes.csv"
_QUANTILES = (0.05, 0.275, 0.5, 0.725, 0.95)
_LIKE, _NEXT, _STEPS = 500, 2500, 2500


def likeliest(model: StatisticsModel, some: ParticleStatistics, start: Tensor) -> Tensor:
    """Where particles of one conformation are likeliest together, shape (Z,)."""
    precision, information = some.precision.sum(0), some.information.sum(0)
    z = start.clone().requires_grad_()
    search = torch.optim.LBFGS([z], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        search.zero_grad()
        mixed = model.coefficients(z[None])[0]
        value: Tensor = 0.5 * mixed @ precision @ mixed - information @ mixed
        value.backward()
        return value

    search.step(loss)
    return z.detach()


@torch.no_grad()
def back_projected(images: ParticleDataset, rows: Tensor, subspace: Subspace) -> Tensor:
    """Volume of some particles, weighted with their CTF, shape (D, D, D)."""
    grid = subspace.grid
    half = torch.zeros(len(images), dtype=torch.int64)
    half[rows[::2]] = 1
    maps = back_project(view_batches(images, grid.disc, rows), half, grid)
    average = (maps.nodes[0] + maps.nodes[1]) / 2
    return replace(subspace, nodes=torch.cat([average, subspace.nodes[:, 1:]], 1)).volumes()[0]


def compared(found: Tensor, truth: Tensor, radius: int, pixel: float) -> list[dict[str, float]]:
    """Scores of five volumes, each of shape (5, D, D, D)."""
    rows = []
    for volume, true, change, moved in zip(
        found, truth, found - found.mean(0), truth - truth.mean(0), strict=True
    ):
        fsc = fourier_shell_correlation(volume, true)
        rows.append(
            {
                "fsc": float(fsc[1 : radius + 1].mean()),
                "resolution": resolution_at(fsc, pixel, 0.5),
                "change": float(torch.corrcoef(torch.stack([change, moved]).flatten(1))[0, 1]),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", choices=sorted(SETTINGS), default="pairs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scratch", type=Path, required=True, help="what run.py left")
    parser.add_argument("--out", type=Path, default=RESULTS, help="table that grows")
    options = parser.parse_args()
    setting, name = SETTINGS[options.setting], f"{options.setting}_{options.seed}"
    simulation = setting.simulate(options.seed)
    error = draw_errors(setting.errors, simulation.n_images, options.seed)
    rows, _ = open_stack(options.scratch / name, setting, error)
    folder = StatisticsFolder.open(options.scratch / f"{name}_statistics")
    subspace, statistics = Subspace.open(folder.path / "subspace.pt"), folder.statistics
    factors = torch.from_numpy(np.load(options.scratch / name / "truth.npz")["factors"]).float()
    torch.manual_seed(options.seed)
    model = make_model(statistics.rank, 1.0, factors.shape[1])
    data = StatisticsDataset(statistics, ParticleLabels())
    train(data, torch.arange(len(statistics)), model, _STEPS)
    mean = inferred(model.eval(), statistics.information, statistics.precision).mean
    places = factors.median(0).values.repeat(len(_QUANTILES), 1)
    places[:, 0] = torch.quantile(factors[:, 0], torch.tensor(_QUANTILES))
    decoded, projected, truth = [], [], []
    basis = subspace.volumes()
    for place in places:
        like = (factors - place).square().sum(1).argsort()[:_LIKE]
        z = likeliest(model, statistics.take(like), mean[like].mean(0))
        with torch.no_grad():
            mixed = model.coefficients(z[None])[0]
        decoded.append(basis[0] + torch.tensordot(mixed, basis[1:], 1))
        beside = (mean - mean[like].mean(0)).square().sum(1).argsort()[:_NEXT].sort().values
        projected.append(back_projected(rows.images, beside, subspace))
        hinges = simulation.hinges(place[None].double()).float()
        size = (simulation.box_size, simulation.pixel_size)
        truth.append(simulation.molecule.volume(hinges, *size)[0])
    for method, found in (("decoder", decoded), ("back-projection", projected)):
        scored = compared(
            torch.stack(found), torch.stack(truth), subspace.radius, simulation.pixel_size
        )
        for quantile, scores in zip(_QUANTILES, scored, strict=True):
            row: dict[str, object] = {
                "setting": options.setting,
                "seed": options.seed,
                "method": method,
                "quantile": quantile,
                **scores,
            }
            append(row, options.out)
            print(row, flush=True)


if __name__ == "__main__":
    main()
