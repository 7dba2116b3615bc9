"""Several trainings from other random weights, of which the best is kept.

Inference of poses has wrong optima, and some trainings end in one. They show by their held-out
reconstruction, so the choice needs no truth, and must not use any.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import lightning as L

__all__ = ["Restart", "best_restart", "train_restarts"]


class Restart(NamedTuple):
    """One of several trainings.

    Attributes:
        seed: Seed of its weights and draws.
        score: What it is judged by, on held-out particles; lower is better.
        module: The trained module.
    """

    seed: int
    score: float
    module: L.LightningModule


def train_restarts(
    make_module: Callable[[], L.LightningModule],
    make_data: Callable[[], L.LightningDataModule],
    make_trainer: Callable[[], L.Trainer],
    seeds: Sequence[int],
    monitor: str = "val/reconstruction",
) -> list[Restart]:
    """Trains a model once for each seed and judges it by held-out particles.

    Args:
        make_module: Makes the model; called after the seed is set.
        make_data: Makes the data; its validation particles are used to judge.
        make_trainer: Makes the Trainer.
        seeds: Seeds of the trainings.
        monitor: Name of the logged validation metric that judges; a reconstruction error, never a
            comparison with the truth.

    Returns:
        The trainings in the order of the seeds; one that ended in NaN scores infinity.

    Raises:
        ValueError: If there is no seed, or the model doesn't log ``monitor`` in validation.
    """
    if not seeds:
        raise ValueError("restarts need at least one seed, found none")
    trainings = []
    for seed in seeds:
        L.seed_everything(seed, verbose=False)
        module, data, trainer = make_module(), make_data(), make_trainer()
        trainer.fit(module, datamodule=data)
        logged = trainer.validate(module, datamodule=data, verbose=False)
        known = {name: value for metrics in logged for name, value in metrics.items()}
        if monitor not in known:
            raise ValueError(
                f"restarts are judged by {monitor!r}, found only {sorted(known)} logged in "
                "validation"
            )
        score = known[monitor]
        trainings.append(Restart(seed, math.inf if math.isnan(score) else score, module))
    return trainings


def best_restart(trainings: Sequence[Restart]) -> Restart:
    """The training with the lowest score, of equal ones the first.

    Args:
        trainings: What `train_restarts` returned.

    Returns:
        The best.

    Raises:
        ValueError: If there is none, or all ended in NaN.
    """
    finite = [training for training in trainings if math.isfinite(training.score)]
    if not finite:
        raise ValueError(f"none of {len(trainings)} restarts has a finite score")
    return min(finite, key=lambda training: training.score)
