"""Whether times or temperatures of the particles make single latent coordinates meaningful."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cryo_disentangle.priors import (
    SlownessIdentifiability,
    TemperatureIdentifiability,
    slowness_identifiability,
    temperature_identifiability,
)
from cryo_disentangle.types import Inference, ParticleBatch, flatten_particles

__all__ = ["Judgement", "judge_identifiability", "slowness_scores", "temperature_scores"]

# A coordinate whose posterior is narrower than half the prior's variance says something of images.
_USED_BELOW = 0.5


class Judgement(NamedTuple):
    """What a diagnostic found of the latents.

    Attributes:
        words: The finding in words, or why there is none.
        scores: Numbers by name; none where nothing could be judged.
    """

    words: str
    scores: dict[str, float]


class _Infers(Protocol):
    """A model that infers conformations."""

    def infer(self, batch: ParticleBatch) -> Inference:
        """Infers the posterior of single particles."""
        ...


@torch.no_grad()
def judge_identifiability(model: _Infers, samples: Iterable[ParticleBatch]) -> dict[str, Judgement]:
    """Judges whether the particles' times and temperatures identify the latent coordinates.

    Coordinates that the model does not use, whose posteriors are on average wider than half the
    standard normal prior's variance, are left out.

    Args:
        model: The model.
        samples: Batches of particles or of pairs of frames.

    Returns:
        ``temperature`` where batches have temperatures and ``slowness`` where they are of pairs;
        nothing for other batches, which are not inferred then.
    """
    batches = iter(samples)
    first = next(batches, None)
    if first is None:
        return {}
    known = [name for name in _JUDGES if _has(first, name)]
    if not known:
        return {}
    columns: dict[str, list[Tensor]] = {}
    for batch in itertools.chain([first], batches):
        found = model.infer(flatten_particles(batch)).reshape(*batch["index"].shape)
        row = {"mean": found.mean, "log_variance": found.log_variance}
        row |= {key: batch[key] for key in ("temperature", "time") if key in batch}
        for key, value in row.items():
            columns.setdefault(key, []).append(value.double().cpu())
    rows = {key: torch.cat(values) for key, values in columns.items()}
    used = rows.pop("log_variance").exp().flatten(0, -2).mean(0) < _USED_BELOW
    mean = rows["mean"][..., used]
    return {name: _judge(name, rows | {"mean": mean}) for name in known}


def _has(batch: ParticleBatch, name: str) -> bool:
    """Whether a batch has what a diagnostic needs."""
    return "temperature" in batch if name == "temperature" else batch["index"].ndim == 2


def _judge(name: str, rows: dict[str, Tensor]) -> Judgement:
    """A finding, or why there is none."""
    if not rows["mean"].shape[-1]:
        return Judgement("Can't be judged: the model uses none of its latent coordinates.", {})
    try:
        return _JUDGES[name](rows)
    except ValueError as error:
        return Judgement(f"Can't be judged: {error}.", {})


def _temperature(rows: dict[str, Tensor]) -> Judgement:
    width = rows["mean"].shape[-1]
    found = temperature_identifiability(
        rows["mean"].reshape(-1, width), rows["temperature"].flatten()
    )
    return Judgement(found.verdict, temperature_scores(found))


def temperature_scores(found: TemperatureIdentifiability) -> dict[str, float]:
    """Numbers of a diagnostic by name.

    Args:
        found: The diagnostic.

    Returns:
        Those that are finite.
    """
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


def _slowness(rows: dict[str, Tensor]) -> Judgement:
    earlier, later = rows["mean"].unbind(1)
    interval = rows["time"].diff(dim=1)[:, 0] if "time" in rows else None
    found = slowness_identifiability(earlier, later, interval)
    return Judgement(found.verdict, slowness_scores(found))


def slowness_scores(found: SlownessIdentifiability) -> dict[str, float]:
    """Numbers of a diagnostic by name.

    Args:
        found: The diagnostic.

    Returns:
        Those that are finite.
    """
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


_JUDGES: dict[str, Callable[[dict[str, Tensor]], Judgement]] = {
    "temperature": _temperature,
    "slowness": _slowness,
}
