"""Whether axes by time are those of steps, or of the noise: pairs of images at several lags.

    python benchmarks/statistics/run.py --setting dynamics_pairs_0ps --scratch SCRATCH --out PROOF
    python benchmarks/physics/noise.py --scratch SCRATCH

A model is trained on the statistics that the first command leaves, of pairs of images of one frame,
and infers 25,000 other pairs at each lag. Appends to results/noise.csv how much farther from normal
steps are along axes by time than between them (``TimeAxes.contrast_``): ``found`` in all,
``told`` by posteriors of the noise, and ``left``. The last row is of pairs that the model itself
makes of its posteriors, two images of each conformation.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.axes import TimeAxes
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.physics.frames import DynamicsPairs
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.posterior import draw_information
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.types import Pose

sys.path.append(str(Path(__file__).parents[1] / "statistics"))
from algorithm1 import make_model, train
from errors import draw_errors
from held_out import STREAM, statistics_of
from learning import inferred
from run import open_stack
from settings import SETTINGS, dynamics
from tables import append

RESULTS = Path(__file__).parent / "results/noise.csv"
_STILL, _LAGS = "dynamics_pairs_0ps", (0.0, 6.0, 30.0, 120.0)
_COUNT, _BATCH, _STEPS = 50_000, 500, 2500


class Seen(NamedTuple):
    """Statistics of particles 2i and 2i + 1 that are a pair, and their factors."""

    information: Tensor
    precision: Tensor
    factors: Tensor


@torch.no_grad()
def see(lag: float, scratch: Path) -> Seen:
    """Makes the statistics of pairs that nothing was fitted to."""
    still, setting = SETTINGS[_STILL], dynamics(DynamicsPairs(lag))
    stack = scratch / f"{_STILL}_0"
    rows, _ = open_stack(stack, still, draw_errors(still.errors, _COUNT, 0))
    subspace = Subspace.open(scratch / f"{_STILL}_0_statistics/subspace.pt")
    simulation, parts = setting.simulate(0), []
    for first in range(0, _COUNT, _BATCH):
        draws = Draws.consecutive((simulation.seed, STREAM), first, _BATCH)
        known = simulation.describe(draws)
        images = simulation.add_noise(simulation.clean(known), draws)
        pose = Pose(known.rotation, known.translation)
        seen = rows.images.preprocessing(images)
        found = statistics_of(seen, pose, known.ctf, subspace, setting)
        parts.append((found.information, found.precision, known.factors))
    return Seen(*(torch.cat(part) for part in zip(*parts, strict=True)))


@torch.no_grad()
def seen_again(model: StatisticsModel, seen: Seen) -> Seen:
    """Images, as the model makes them, of one conformation for each pair."""
    posterior = inferred(model, seen.information, seen.precision)
    drawn = posterior.sample(torch.Generator().manual_seed(0))[0::2].repeat_interleave(2, 0)
    return seen._replace(information=draw_information(model.coefficients(drawn), seen.precision))


def judged(model: StatisticsModel, seen: Seen) -> dict[str, object]:
    """Axes by time, with and without what posteriors tell of the noise."""
    found = inferred(model, seen.information, seen.precision)
    mean, covariance = found.mean, found.scale_tril @ found.scale_tril.mT
    pair = mean[0::2], mean[1::2]
    plain = TimeAxes().fit(*pair)
    row: dict[str, object] = {
        "found": float(plain.contrast_[0, 1]),
        "error": float(plain.contrast_error_[0, 1]),
        "mcc": float(mcc(torch.as_tensor(plain.transform(mean)), seen.factors)),
    }
    try:
        axes = TimeAxes().fit(*pair, (covariance[0::2], covariance[1::2]))
    except ValueError:
        # Noise explains all of the steps.
        return row | {"told": "", "left": "", "determined": "refused"}
    left = float(axes.contrast_[0, 1])
    told = float(plain.contrast_[0, 1]) - left
    return row | {"told": told, "left": left, "determined": axes.determined_}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scratch", type=Path, required=True, help="where run.py left its stack")
    parser.add_argument("--trainings", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    statistics = StatisticsFolder.open(options.scratch / f"{_STILL}_0_statistics").statistics
    data = StatisticsDataset(statistics, ParticleLabels())
    stacks = {lag: see(lag, options.scratch) for lag in _LAGS}
    for seed in range(options.trainings):
        torch.manual_seed(seed)
        model = make_model(statistics.rank, 1.0, 2)
        train(data, torch.arange(len(statistics)), model, _STEPS)
        model.eval()
        rows = {f"{lag:g} ps": judged(model, seen) for lag, seen in stacks.items()}
        rows["0 ps, by the model"] = judged(model, seen_again(model, stacks[0.0]))
        for name, row in rows.items():
            append({"pairs": name, "seed": seed, **row}, RESULTS)
            print(name, row, flush=True)


if __name__ == "__main__":
    main()
