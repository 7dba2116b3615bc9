"""Algorithm 1 on statistics, with and without, at several numbers of particles.

    python benchmarks/statistics/algorithm1.py STATISTICS TRUTH [--sizes 500 2000] [--seeds 2]

Prints for each size and seed the linear R² of the factors on 4,000 particles that nothing was
trained on, and milliseconds of one core a step, without and with the intervention; first the R² of
the oracle, posterior means within the subspace with the true factors known for training.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.losses import PoseIntervention, PosteriorDistance
from cryo_disentangle.metrics.functional.oracle import (
    fit_factor_mixture,
    oracle_scores,
    posterior_means,
)
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics

_HELD_OUT, _BATCH, _RATE = 4000, 512, 2e-3


def make_model(rank: int, weight: float, dim: int = 2) -> StatisticsModel:
    """The model of configs/statistics.yaml."""
    penalties = {}
    if weight:
        penalties["poses"] = PoseIntervention(
            weight,
            distance=PosteriorDistance(),
            sampled_conformations=True,
            gradient="encoder",
            every_n_steps=2,
        )
    # No volume is asked for, so that the box is of no importance.
    decoder = BasisDecoder(16, dim, rank, hidden=48, layers=1)
    return StatisticsModel(
        decoder,
        dim,
        lambda coefficients, dim: StatisticsEncoder(coefficients, dim, width=96, layers=1),
        penalties=penalties,
    )


def train(data: StatisticsDataset, rows: Tensor, model: StatisticsModel, steps: int) -> float:
    """Trains on some particles; returns milliseconds of processor time a step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
    started = time.process_time()
    for step in range(steps):
        batch = data.__getitems__(rows[torch.randint(len(rows), (_BATCH,))].tolist())
        loss = model.train().loss_terms(batch, step=step, sample=True)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 50.0)
        optimizer.step()
        schedule.step()
    return (time.process_time() - started) / steps * 1e3


def take(statistics: ParticleStatistics, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Information vectors and precisions of some particles."""
    some = statistics.take(rows)
    return some.information, some.precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statistics", type=Path)
    parser.add_argument("truth", type=Path, help="truth.npz of the simulated stack")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 10_000, 45_000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    statistics = StatisticsFolder.open(options.statistics).statistics
    factors = torch.from_numpy(np.load(options.truth)["factors"]).float()[statistics.index]
    order = torch.randperm(len(factors), generator=torch.Generator().manual_seed(9))
    held_out, rest = order[:_HELD_OUT], order[_HELD_OUT:]
    mixture = fit_factor_mixture(factors[rest], *take(statistics, rest))
    oracle = posterior_means(mixture, factors[rest], *take(statistics, held_out))
    data = StatisticsDataset(statistics, ParticleLabels())
    unseen = data.__getitems__(held_out.tolist())
    for size in options.sizes:
        for seed in range(options.seeds):
            generator = torch.Generator().manual_seed(seed)
            rows = rest[torch.randperm(len(rest), generator=generator)[:size]]
            for weight in (0.0, 1.0):
                torch.manual_seed(seed)
                model = make_model(statistics.rank, weight)
                spent = train(data, rows, model, options.steps)
                with torch.no_grad():
                    found = model.eval().infer(unseen).mean
                scores = oracle_scores(found, oracle, factors[held_out])
                print(
                    f"N {size:6} seed {seed} weight {weight:g}: R² {scores['r2']:.4f} of "
                    f"{scores['r2_oracle']:.4f}, {spent:.2f} ms a step",
                    flush=True,
                )


if __name__ == "__main__":
    main()
