"""Whether times or temperatures of the particles make single latent coordinates meaningful."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.axes.labelled import KnownLatents, axes_by_temperature, axes_by_time
from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.use import IN_USE, share_known
from cryo_disentangle.particles.pairs import next_frames
from cryo_disentangle.priors import slowness_identifiability, temperature_identifiability

__all__ = ["LabelJudgement", "following_frames", "judge_identifiability"]


class LabelJudgement(NamedTuple):
    """Result of an identifiability diagnostic.

    Attributes:
        words: The finding in words, or why there is none.
        scores: Numbers by name; none where nothing could be judged.
    """

    words: str
    scores: dict[str, float]


def judge_identifiability(particles: InferredParticles) -> dict[str, LabelJudgement]:
    """Judges whether the particles' times and temperatures identify the latent coordinates.

    The judge is that of named axes, `TimeAxes` and `TemperatureAxes`, which are given the widths of
    the posteriors. Coordinates that are not in use (`share_known`) are left out.

    Args:
        particles: What is inferred and known of particles or frames.

    Returns:
        ``temperature`` where particles have temperatures, and ``slowness`` where it is known
        which of them are frames that follow each other.
    """
    frames = particles.frames
    known = {"temperature": "temperature" in particles.labels, "slowness": frames is not None}
    used = torch.ones(particles.mean.shape[1], dtype=torch.bool)
    if particles.log_variance is not None:
        used = share_known(particles.mean, particles.log_variance) > IN_USE
    return {name: _judge(name, particles, used) for name, judged in known.items() if judged}


def following_frames(particles: InferredParticles) -> Tensor | None:
    """Finds which of all particles of a stack are a frame and the next, by time and trajectory.

    Args:
        particles: All particles of a stack.

    Returns:
        Places of earlier and later frames, shape (P, 2); None where time or trajectory is not
        known.

    Raises:
        ValueError: If two frames of one trajectory have the same time.
    """
    labels = particles.labels
    if not {"time", "trajectory"} <= labels.keys():
        return None
    time, trajectory = (labels[name].numpy() for name in ("time", "trajectory"))
    following = torch.from_numpy(next_frames(time, trajectory, "the particles"))
    earlier = (following >= 0).nonzero()[:, 0]
    return torch.stack([earlier, following[earlier]], 1)


def _judge(name: str, particles: InferredParticles, used: Tensor) -> LabelJudgement:
    """A finding, or why there is none."""
    if not bool(used.any()):
        return LabelJudgement("Can't be judged: the model uses none of its latent coordinates.", {})
    try:
        return _JUDGES[name](particles, _known(particles, used))
    except ValueError as error:
        return LabelJudgement(f"Can't be judged: {error}.", {})


def _known(particles: InferredParticles, used: Tensor) -> KnownLatents:
    """Coordinates in use, with their uncertainties and half sets."""
    covariance = particles.covariance
    if covariance is not None:
        covariance = covariance[:, used][:, :, used].double()
    elif particles.log_variance is not None:
        covariance = particles.log_variance[:, used].double().exp()
    half = particles.labels.get("half")
    return KnownLatents(particles.mean[:, used].double(), covariance, half)


def _temperature(particles: InferredParticles, known: KnownLatents) -> LabelJudgement:
    kelvin = particles.labels["temperature"].double()
    axes = axes_by_temperature(known, kelvin)
    # What is more than axes: how strongly curved mixtures could be undone.
    found = temperature_identifiability(torch.as_tensor(known.latents), kelvin)
    scores = _scores(axes) | {
        "rank": float(found.rank),
        "required_rank": float(found.required_rank),
    }
    if math.isfinite(found.condition_number):
        scores["condition_number"] = found.condition_number
    width = len(axes.angle_)
    if width > 1:
        apart = torch.from_numpy(axes.separation_)
        first, second = torch.triu_indices(width, width, offset=1)
        scores["smallest_separation"] = float(apart[first, second].min())
    return _judged_on(f"{len(kelvin):,} particles", axes, scores)


def _slowness(particles: InferredParticles, known: KnownLatents) -> LabelJudgement:
    frames, time = particles.frames, particles.labels.get("time")
    if frames is None:
        raise ValueError("it is not known which particles are successive frames")
    interval = None if time is None else time.double()[frames].diff(dim=1)[:, 0]
    axes = axes_by_time(known, frames, interval)
    earlier, later = torch.as_tensor(known.latents)[frames].unbind(1)
    found = slowness_identifiability(earlier, later, interval)
    scores = _scores(axes) | {
        "smallest_kurtosis": float(axes.kurtosis_.min()),
        "largest_exponent": float(found.shape.max()),
    }
    width = len(axes.angle_)
    if width > 1:
        first, second = torch.triu_indices(width, width, offset=1)
        scores["largest_dependence"] = float(found.dependence[first, second].abs().max())
    return _judged_on(f"{len(frames):,} pairs of frames", axes, scores)


def _scores(axes: LinearAxes) -> dict[str, float]:
    """Whether and how well axes are known."""
    scores = {
        "identifiable": float(axes.determined_),
        "largest_angle": float(axes.angle_.max()),
    }
    if axes.half_angle_ is not None:
        scores["largest_half_angle"] = float(axes.half_angle_.max())
    return scores


def _judged_on(what: str, axes: LinearAxes, scores: dict[str, float]) -> LabelJudgement:
    return LabelJudgement(f"{axes.verdict_} Judged on {what}.", scores)


_JUDGES: dict[str, Callable[[InferredParticles, KnownLatents], LabelJudgement]] = {
    "temperature": _temperature,
    "slowness": _slowness,
}
