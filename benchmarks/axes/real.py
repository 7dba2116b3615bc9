"""Estimators of axes by time on statistics of images, over several trainings.

    python benchmarks/axes/real.py STATISTICS TRUTH --name pairs_small [--trainings 3]

Trains on the statistics as configs/statistics.yaml does, without the last particles, names the axes
by each estimator, and appends rows to results/real.csv: MCC with the factors on particles that
nothing was fitted to, beside that of the best linear map of z and of the oracle within the volumes.
``evidence`` takes the normal likelihood that posteriors stand for, ``exact evidence`` that of the
statistics, -½ φ(z)ᵀ Λ φ(z) + bᵀ φ(z), and ``bent`` a flow after TimeAxes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.axes import EvidenceAxes
from cryo_disentangle.axes.bent import bent_by_time
from cryo_disentangle.axes.labelled import KnownLatents, axes_by_time
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.held_out.oracle import posterior_of_statistics
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics

sys.path.insert(0, str(Path(__file__).parents[1] / "statistics"))
from algorithm1 import make_model, train
from learning import inferred
from tables import append

RESULTS = Path(__file__).parent / "results/real.csv"
_HELD_OUT, _STEPS = 1000, 2500


def exact(model: StatisticsModel, statistics: ParticleStatistics, frames: Tensor) -> Callable:
    """The likelihood of pairs of frames, of samples (n, 2, S, Z)."""

    @torch.no_grad()
    def log_likelihood(z: Tensor, rows: Tensor) -> Tensor:
        places = frames[rows]
        mixed = model.coefficients(z.float())
        quadratic = torch.einsum("nfsi,nfij,nfsj->nfs", mixed, statistics.precision[places], mixed)
        return (mixed @ statistics.information[places][..., None])[..., 0] - 0.5 * quadratic

    return log_likelihood


def estimators(
    model: StatisticsModel, statistics: ParticleStatistics, samples: int, pairs: int
) -> dict[str, Callable[[], LinearAxes]]:
    """What names the axes of consecutive particles."""
    found = inferred(model, statistics.information, statistics.precision)
    mean, covariance = found.mean.double(), found.covariance.double()
    frames = torch.arange(len(mean)).reshape(-1, 2)
    known = KnownLatents(mean, covariance)
    (one, other), spread = frames.T, covariance

    def evidence(likelihood: Callable | None) -> LinearAxes:
        both = spread[one], spread[other]
        axes = EvidenceAxes(samples=samples, pairs=pairs)
        return axes.fit(mean[one], mean[other], both, likelihood)

    return {
        "TimeAxes": lambda: axes_by_time(known, frames),
        "evidence": lambda: evidence(None),
        "exact evidence": lambda: evidence(exact(model, statistics, frames)),
        "bent": lambda: bent_by_time(axes_by_time(known, frames), known, frames),
    }


def run(options: argparse.Namespace) -> None:
    """Trains, names and scores."""
    statistics = StatisticsFolder.open(options.statistics).statistics
    factors = torch.from_numpy(np.load(options.truth)["factors"]).float()[statistics.index]
    unseen = torch.arange(len(factors) - _HELD_OUT, len(factors))
    truth = factors[unseen] - factors[unseen].mean(0)
    oracle = float(mcc(posterior_of_statistics(statistics, factors, unseen), truth))
    own, others = statistics.take(slice(0, -_HELD_OUT)), statistics.take(unseen)
    data = StatisticsDataset(own, ParticleLabels())
    for training in range(options.trainings):
        torch.manual_seed(training)
        model = make_model(statistics.rank, 1.0)
        train(data, torch.arange(len(own)), model, _STEPS)
        z = inferred(model.eval(), others.information, others.precision).mean
        z = z - z.mean(0)
        best = float(mcc(z @ torch.linalg.lstsq(z, truth).solution, truth))
        for name, fit in estimators(model, own, options.samples, options.pairs).items():
            started = time.process_time()
            axes = fit()
            row: dict[str, object] = {
                "data": options.name,
                "training": training,
                "estimator": name,
                "mcc": float(mcc(axes.transform(z), truth)),
                "best_linear": best,
                "oracle": oracle,
                "angle": float(axes.angle_.max()),
                "determined": int(axes.determined_),
                "gain": float(getattr(axes, "evidence_gain_", float("nan"))),
                "gain_error": float(getattr(axes, "evidence_gain_error_", float("nan"))),
                "seconds": time.process_time() - started,
            }
            append(row, options.out)
            print(*row.values(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statistics", type=Path)
    parser.add_argument("truth", type=Path, help="truth.npz of the simulated pairs of frames")
    parser.add_argument("--name", required=True, help="of the data, in the table")
    parser.add_argument("--trainings", type=int, default=3)
    parser.add_argument("--samples", type=int, default=32, help="of each frame, for the evidence")
    parser.add_argument("--pairs", type=int, default=1500, help="at most, for the evidence")
    parser.add_argument("--out", type=Path, default=RESULTS)
    torch.set_num_threads(1)
    run(parser.parse_args())


if __name__ == "__main__":
    main()
