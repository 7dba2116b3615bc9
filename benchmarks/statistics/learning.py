"""Learns on statistics as configs/statistics.yaml does, names the axes, and scores them."""

from __future__ import annotations

import statistics as summary
import time
from typing import NamedTuple

import numpy as np
import torch
from algorithm1 import make_model, train
from errors import in_both_frames
from held_out import HeldOut
from oracles import best_rotation, pose_and_noise, scores
from settings import Setting
from slowness import slow_axes
from torch import Tensor

from cryo_disentangle.axes import PrincipalAxes, TemperatureAxes, TimeAxes
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.metrics.functional.leak import nuisance_leak, pose_leak
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.types import Inference

__all__ = ["Labels", "latent_scores", "learned", "learned_once"]

_TRAININGS, _STEPS, _BATCH, _PERMUTATIONS = 5, 2500, 4096, 39


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


def new_model(rank: int, dim: int, setting: Setting) -> StatisticsModel:
    """The model that a setting is learned with."""
    prior = None if setting.prior is None else setting.prior()
    return make_model(rank, 1.0, dim, large_motions=setting.large_motions, prior=prior)


def learned_once(statistics: ParticleStatistics, setting: Setting) -> Inference:
    """Posteriors of all particles after one training."""
    torch.manual_seed(0)
    model = new_model(statistics.rank, setting.simulate(0).process.dim, setting)
    train(
        StatisticsDataset(statistics, ParticleLabels()),
        torch.arange(len(statistics)),
        model,
        _STEPS,
    )
    return inferred(model.eval(), statistics.information, statistics.precision)


def learned(
    statistics: ParticleStatistics, labels: Labels, unseen: HeldOut, setting: Setting
) -> dict[str, float]:
    """Trains five times and scores latents of particles that nothing was fitted to.

    Args:
        statistics: Of the N particles.
        labels: What is known of them.
        unseen: Other particles.
        setting: What they are of.

    Returns:
        Medians over trainings, and the worst MCC, the largest leaks and number of trainings that
        call the axes determined; as ``kept_*`` those of the training with the best bound on the
        likelihood of the other particles.
    """
    data = StatisticsDataset(statistics, ParticleLabels())
    everything = torch.arange(len(statistics))
    rows: dict[str, list[float]] = {}
    for seed in range(_TRAININGS):
        torch.manual_seed(seed)
        model = new_model(statistics.rank, unseen.factors.shape[1], setting)
        started = time.perf_counter()
        train(data, everything, model, _STEPS)
        seconds = time.perf_counter() - started
        own = inferred(model.eval(), statistics.information, statistics.precision)
        try:
            axes = axes_of(own, labels)
        except ValueError as reason:
            # Noise explains a coordinate: nothing is to be named.
            print(reason)
            axes = None
        found = judged(model, axes, unseen) | {"seconds_learning": seconds}
        if labels.pairs:
            slow = slow_axes(own.mean, own.scale_tril @ own.scale_tril.mT)
            found["mcc_slow"] = scores(means(model, unseen.own).double() @ slow, unseen.factors)[0]
        for name, value in found.items():
            rows.setdefault(name, []).append(value)
    medians = {name: summary.median(values) for name, values in rows.items()}
    best = min(range(_TRAININGS), key=lambda number: rows["loss"][number])
    kept = ("mcc", "mcc_rotated", "r2", "pose_share")
    return medians | {
        **{f"kept_{name}": rows[name][best] for name in kept},
        "mcc_worst": min(rows["mcc"]),
        "view_leak": max(rows["view_leak"]),
        "pose_share": max(rows["pose_share"]),
        "determined": sum(rows["determined"]),
        **error_leaks(means(model, unseen.own), setting.errors, unseen),
    }


def judged(model: StatisticsModel, axes: LinearAxes | None, unseen: HeldOut) -> dict[str, float]:
    """Scores of one training."""
    z, noisy, moved = (means(model, seen) for seen in (unseen.own, unseen.noisy, unseen.moved))
    named = z if axes is None else torch.as_tensor(axes.transform(z)).float()
    return {
        "mcc": scores(named, unseen.factors)[0],
        **latent_scores(z, noisy, moved, unseen.factors, unseen.rotation),
        "determined": float(axes is not None and axes.determined_),
        "loss": held_out_loss(model, unseen.own),
    }


@torch.no_grad()
def held_out_loss(model: StatisticsModel, seen: Likelihood) -> float:
    """Negative evidence lower bound of particles in nats, without penalties."""
    rows = torch.arange(len(seen.information))
    batch = {"information": seen.information, "precision": seen.precision, "index": rows}
    batch["rotation"] = torch.eye(3).expand(len(rows), 3, 3)
    terms = model.loss_terms(batch, step=0, sample=False)
    return float(terms["reconstruction"] + terms["kl"])


def latent_scores(
    z: Tensor, noisy: Tensor, moved: Tensor, truth: Tensor, view: Tensor
) -> dict[str, float]:
    """Scores of latents as they come, with the shares of pose and noise.

    Args:
        z: Posterior means, shape (N, Z).
        noisy: Of the same views with other noise.
        moved: Of the same conformations from other poses, with other noise.
        truth: True factors, shape (N, F).
        view: Views that ``z`` is of, shape (N, 3, 3).
    """
    pose, noise = pose_and_noise(z, noisy, moved)
    mixed, r2 = scores(z, truth)
    return {
        "mcc_rotated": best_rotation(z, truth),
        "mcc_unnamed": mixed,
        "r2": r2,
        "view_leak": float(pose_leak(z, view).nonlinear_r2.max()),
        "noise_share": noise,
        "pose_share": pose,
    }


def means(model: StatisticsModel, seen: Likelihood) -> Tensor:
    """Posterior means of all particles."""
    return inferred(model, seen.information, seen.precision).mean


def error_leaks(z: Tensor, errors: Nuisance, unseen: HeldOut) -> dict[str, float]:
    """Largest R² of a latent from each error, and its p-value among shuffled errors."""
    found: dict[str, float] = {}
    generator = torch.Generator().manual_seed(0)
    for name, columns in in_both_frames(errors, unseen.error, unseen.rotation).items():
        orders = [torch.randperm(len(z), generator=generator) for _ in range(_PERMUTATIONS)]
        leak, *null = (_leak(z, columns[rows]) for rows in (torch.arange(len(z)), *orders))
        rank = 1 + sum(value >= leak for value in null)
        found |= {f"{name}_leak": leak, f"{name}_leak_p": rank / (1 + _PERMUTATIONS)}
    return found


def _leak(z: Tensor, columns: Tensor) -> float:
    """Largest R² of a latent from an error, linear or not."""
    scores_of = nuisance_leak(z, {"error": columns})["error"]
    return float(torch.stack([scores_of.linear_r2, scores_of.nonlinear_r2]).max())
