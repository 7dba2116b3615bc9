"""Whether times or temperatures of the particles make single latent coordinates meaningful."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.use import IN_USE, share_known
from cryo_disentangle.particles.pairs import next_frames
from cryo_disentangle.priors import slowness_identifiability, temperature_identifiability
from cryo_disentangle.priors.identifiability import TemperatureIdentifiability
from cryo_disentangle.priors.slowness import SlownessIdentifiability

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

    Coordinates that are not in use (`share_known`) are left out.

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
    rows = {name: values.double() for name, values in particles.labels.items()}
    rows["mean"] = particles.mean[:, used].double()
    if frames is not None:
        rows["frames"] = frames
    return {name: _judge(name, rows) for name, judged in known.items() if judged}


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


def _judge(name: str, rows: dict[str, Tensor]) -> LabelJudgement:
    """A finding, or why there is none."""
    if not rows["mean"].shape[-1]:
        return LabelJudgement("Can't be judged: the model uses none of its latent coordinates.", {})
    try:
        return _JUDGES[name](rows)
    except ValueError as error:
        return LabelJudgement(f"Can't be judged: {error}.", {})


def _temperature(rows: dict[str, Tensor]) -> LabelJudgement:
    found = temperature_identifiability(rows["mean"], rows["temperature"])
    return LabelJudgement(found.verdict, _temperature_scores(found))


def _temperature_scores(found: TemperatureIdentifiability) -> dict[str, float]:
    """Numbers of a diagnostic that are finite, by name."""
    scores = {
        "identifiable": float(found.identifiable),
        "rank": float(found.rank),
        "required_rank": float(found.required_rank),
    }
    if math.isfinite(found.condition_number):
        scores["condition_number"] = found.condition_number
    width = len(found.axes)
    if width > 1:
        first, second = torch.triu_indices(width, width, offset=1)
        scores["smallest_separation"] = float(found.separation[first, second].min())
    return scores


def _slowness(rows: dict[str, Tensor]) -> LabelJudgement:
    frames = rows["frames"]
    earlier, later = rows["mean"][frames].unbind(1)
    interval = rows["time"][frames].diff(dim=1)[:, 0] if "time" in rows else None
    found = slowness_identifiability(earlier, later, interval)
    return LabelJudgement(found.verdict, _slowness_scores(found))


def _slowness_scores(found: SlownessIdentifiability) -> dict[str, float]:
    """Numbers of a diagnostic that are finite, by name."""
    scores = {
        "identifiable": float(found.identifiable),
        "smallest_kurtosis": float(found.kurtosis.min()),
        "largest_exponent": float(found.shape.max()),
    }
    width = len(found.axes)
    if width > 1:
        first, second = torch.triu_indices(width, width, offset=1)
        scores["largest_dependence"] = float(found.dependence[first, second].abs().max())
    return scores


_JUDGES: dict[str, Callable[[dict[str, Tensor]], LabelJudgement]] = {
    "temperature": _temperature,
    "slowness": _slowness,
}
