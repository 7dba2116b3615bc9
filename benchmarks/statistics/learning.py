"""Learns on statistics as configs/statistics.yaml does, names the axes, and scores them."""

from __future__ import annotations

import statistics as summary
import time
from typing import NamedTuple

import numpy as np
import torch
from algorithm1 import make_model, train
from oracles import scores
from torch import Tensor

from cryo_disentangle.axes import PrincipalAxes, TemperatureAxes, TimeAxes
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.metrics.functional import pose_leak
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.types import Inference

__all__ = ["Labels", "learned"]

_TRAININGS, _STEPS, _BATCH = 5, 2500, 4096


class Labels(NamedTuple):
    """What is known of the particles: frames of pairs, or temperatures, or neither.

    Attributes:
        pairs: Whether particles 2i and 2i + 1 are consecutive frames.
        temperature: In kelvin, shape (N,), or None.
    """

    pairs: bool
    temperature: Tensor | None

    @classmethod
    def of(cls, truth: np.lib.npyio.NpzFile) -> Labels:
        """Takes what the simulator wrote."""
        kelvin = truth["temperature"] if "temperature" in truth.files else None
        pairs = "trajectory" in truth.files
        return cls(pairs, None if kelvin is None else torch.from_numpy(kelvin))


@torch.no_grad()
def inferred(model: StatisticsModel, information: Tensor, precision: Tensor) -> Inference:
    """Posteriors of all particles, in batches."""
    parts = [
        model.encoder(information[rows], precision[rows])
        for rows in torch.arange(len(information)).split(_BATCH)
    ]
    return Inference(
        torch.cat([part.mean for part in parts]),
        torch.cat([part.log_variance for part in parts]),
        scale_tril=torch.cat([part.scale_tril for part in parts]),
    )


def axes_of(found: Inference, labels: Labels) -> LinearAxes:
    """Axes by what is known of the particles."""
    mean, factor = found.mean, found.scale_tril
    covariance = factor @ factor.mT
    if labels.pairs:
        both = (covariance[0::2], covariance[1::2])
        return TimeAxes().fit(mean[0::2], mean[1::2], both)
    if labels.temperature is not None:
        return TemperatureAxes().fit(mean, labels.temperature, covariance)
    return PrincipalAxes().fit(mean, covariance)


def learned(
    statistics: ParticleStatistics,
    labels: Labels,
    held_out: Likelihood,
    truth: Tensor,
    view: Tensor,
) -> dict[str, float]:
    """Trains five times and scores latents of particles that nothing was fitted to.

    Args:
        statistics: Of the N particles.
        labels: What is known of them.
        held_out: Statistics of other particles.
        truth: Their true factors.
        view: Their rotations.

    Returns:
        Median and worst MCC over trainings with the axes named, and without; median R², the largest
        leak of the view, how many trainings call the axes determined, seconds of one training.
    """
    data = StatisticsDataset(statistics, ParticleLabels())
    everything = torch.arange(len(statistics))
    rows: dict[str, list[float]] = {}
    for seed in range(_TRAININGS):
        torch.manual_seed(seed)
        model = make_model(statistics.rank, 1.0)
        started = time.perf_counter()
        train(data, everything, model, _STEPS)
        seconds = time.perf_counter() - started
        own = inferred(model.eval(), statistics.information, statistics.precision)
        axes = axes_of(own, labels)
        others = inferred(model, held_out.information, held_out.precision).mean
        named = torch.as_tensor(axes.transform(others)).float()
        leak = pose_leak(others, view)
        found = {
            "mcc": scores(named, truth)[0],
            "mcc_unnamed": scores(others, truth)[0],
            "r2": scores(others, truth)[1],
            "view_leak": float(leak.nonlinear_r2.max()),
            "determined": float(axes.determined_),
            "seconds_learning": seconds,
        }
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    return {
        "mcc": summary.median(rows["mcc"]),
        "mcc_worst": min(rows["mcc"]),
        "mcc_unnamed": summary.median(rows["mcc_unnamed"]),
        "r2": summary.median(rows["r2"]),
        "view_leak": max(0.0, *rows["view_leak"]),
        "determined": sum(rows["determined"]),
        "seconds_learning": summary.median(rows["seconds_learning"]),
    }
