"""Algorithm 1 on statistics, with and without, at several numbers of particles.

    python benchmarks/statistics/algorithm1.py STATISTICS TRUTH [--sizes 500 2000] [--seeds 2]

Appends rows to algorithm1.csv: for each size and seed, without the intervention and with it, the
linear R² of the factors on 4,000 particles that nothing was trained on, Eq. 2 and the metrics of
Appendix A there (0 is best, 1 chance; those of the pose need a model that infers it), and
milliseconds of one core a step. The oracle f* are posterior means within the subspace with the true
factors known for training, the true generator g* has the coefficients that fit these best.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tables import append
from torch import Tensor

from cryo_disentangle.decoders import BasisDecoder
from cryo_disentangle.encoders import StatisticsEncoder
from cryo_disentangle.losses import PoseIntervention, PosteriorDistance
from cryo_disentangle.metrics import PoseConformationMetrics
from cryo_disentangle.metrics.functional.oracle import (
    fit_factor_mixture,
    oracle_scores,
    posterior_means,
)
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.dataset import BatchedDataset
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.types import Inference, ParticleBatch, Pose, known_precision

RESULTS = Path(__file__).parent / "algorithm1.csv"
_HELD_OUT, _BATCH, _RATE = 4000, 512, 2e-3
# Rounding may leave a singular precision with eigenvalues a little below zero.
_LIFT = 1e-5


def make_model(
    rank: int,
    weight: float,
    dim: int = 2,
    *,
    large_motions: bool = False,
    prior: ConformationPrior | None = None,
) -> StatisticsModel:
    """The model of configs/statistics.yaml, or one with larger networks or another prior."""
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
    hidden, width, layers = (128, 192, 2) if large_motions else (48, 96, 1)
    decoder = BasisDecoder(16, dim, rank, hidden=hidden, layers=layers)
    return StatisticsModel(
        decoder,
        dim,
        lambda coefficients, dim: StatisticsEncoder(coefficients, dim, width=width, layers=layers),
        prior=prior,
        penalties=penalties,
    )


def train(
    data: BatchedDataset,
    rows: Tensor,
    model: Any,  # noqa: ANN401 - of statistics, or of images
    steps: int,
    *,
    rate: float = _RATE,
    size: int = _BATCH,
) -> float:
    """Trains on some particles; returns milliseconds of processor time a step."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    started = time.process_time()
    for step in range(steps):
        batch = data.__getitems__(rows[torch.randint(len(rows), (size,))].tolist())
        loss = model.train().loss_terms(batch, step=step, sample=True)["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 50.0)
        optimizer.step()
        schedule.step()
    return (time.process_time() - started) / steps * 1e3


class Truth:
    """The true generator g* and the true inference f* within a subspace, known from factors."""

    def __init__(self, statistics: ParticleStatistics, factors: Tensor) -> None:
        self.factors = factors
        self.mixture = fit_factor_mixture(factors, statistics.information, statistics.precision)

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        """Information vectors of true factors, with their noise."""
        del batch
        precision = known_precision(pose)
        mixed = self.mixture(conformation.double()).to(precision)
        lift = _LIFT * precision.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
        root = torch.linalg.cholesky(precision + lift * torch.eye(precision.shape[1]))
        noise = torch.randn_like(mixed)
        return (precision @ mixed[..., None] + root @ noise[..., None])[..., 0]

    def infer(self, batch: ParticleBatch) -> Inference:
        """Posterior means of the factors."""
        mean = posterior_means(
            self.mixture, self.factors, batch["information"], batch["precision"]
        ).float()
        return Inference(mean, torch.zeros_like(mean))


def judged(model: StatisticsModel, unseen: ParticleBatch, truth: Truth) -> dict[str, float]:
    """Eq. 2 and the metrics of Appendix A."""
    metric = PoseConformationMetrics(truth, truth)
    with torch.no_grad():
        metric.update(model, unseen)
    scores = metric.compute()
    names = [name for name in scores if name.endswith("_normalized")]
    return {name: float(scores[name]) for name in names if "unaligned" not in name}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statistics", type=Path)
    parser.add_argument("truth", type=Path, help="truth.npz of the simulated stack")
    parser.add_argument("--sizes", type=int, nargs="+", default=[500, 2000, 10_000, 46_000])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--weight", type=float, default=1.0, help="of the intervention, in nats")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    statistics = StatisticsFolder.open(options.statistics).statistics
    factors = torch.from_numpy(np.load(options.truth)["factors"]).float()[statistics.index]
    order = torch.randperm(len(factors), generator=torch.Generator().manual_seed(9))
    held_out, rest = order[:_HELD_OUT], order[_HELD_OUT:]
    truth = Truth(statistics.take(rest), factors[rest])
    data = StatisticsDataset(statistics, ParticleLabels())
    unseen = data.__getitems__(held_out.tolist())
    unseen["factors"] = factors[held_out]
    oracle = truth.infer(unseen).mean
    for seed in range(options.seeds):
        for size in options.sizes:
            generator = torch.Generator().manual_seed(seed)
            rows = rest[torch.randperm(len(rest), generator=generator)[:size]]
            for weight in (0.0, options.weight):
                torch.manual_seed(seed)
                model = make_model(statistics.rank, weight)
                spent = train(data, rows, model, options.steps)
                with torch.no_grad():
                    found = model.eval().infer(unseen).mean
                scores = oracle_scores(found, oracle, factors[held_out])
                row: dict[str, object] = {
                    "particles": size,
                    "seed": seed,
                    "weight": weight,
                    "r2": float(scores["r2"]),
                    "r2_oracle": float(scores["r2_oracle"]),
                    **judged(model, unseen, truth),
                    "step_ms": spent,
                }
                append(row, options.out)
                print(row, flush=True)


if __name__ == "__main__":
    main()
