"""Finished runs whose conformations are found by rendering in the place of the encoder's."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console
from torch import nn

from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles, show_progress
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.protocols import VolumeDecoder
from cryo_disentangle.protocols.models import HasDecoder
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["RenderingPlan", "infer_by_rendering", "plan_rendering"]

# Particles that the prior's width is taken from, and those that the noise is.
_SAMPLE, _FITTED = 640, 128
# Particles that a plan is made for where time is short, and the fewest; the smallest radius.
_ENOUGH, _FEWEST, _SMALLEST = 400, 100, 6
# How often an evaluation infers each particle: at first, turned, with permuted poses, with other
# noise, decoded; and how many inferences its picture of rotated images takes besides.
_PASSES, _DRAWN = 14, 13 * 64
_TRIED = 4


class RenderingPlan(NamedTuple):
    """Amount of work of an evaluation by rendering.

    Attributes:
        radius: Fourier pixels that are compared with images.
        particles: Number of particles of which z is found.
        minutes: What that is expected to take.
    """

    radius: int
    particles: int
    minutes: float


def plan_rendering(
    run: FinishedRun,
    *,
    particles: int,
    minutes: float,
    radius: int | None = None,
    device: torch.device | str = "cpu",
) -> RenderingPlan:
    """Measures how long rendering takes and chooses what an evaluation can look at in some time.

    Args:
        run: The run; `open_run`.
        particles: How many particles to look at, at most.
        minutes: How long the evaluation may take, about: the radius is lowered first, to 6 Fourier
            pixels at the least, then the number of particles, to 100 at the least.
        radius: Fourier pixels; None lets it be chosen, up to half the box.
        device: Where the model works.

    Returns:
        The plan.

    Raises:
        ValueError: If the time is not positive, or as `infer_by_rendering`.
        TypeError: As `infer_by_rendering`.
    """
    if not minutes > 0:
        raise ValueError(f"the minutes that rendering may take must be positive, found {minutes}")
    module: Any = run.module
    half = module.box_size // 2
    tried = min(half, _SMALLEST) if radius is None else radius
    source = Particles(run, _TRIED, torch.device(device))
    trial = infer_by_rendering(run, radius=tried, batch_size=_TRIED, device=device, fitted=_TRIED)
    batch = next(source.batches(source.sample(_TRIED)))
    start = time.perf_counter()
    with evaluating(trial.module), torch.no_grad():
        trial.model().infer(batch)
    each = (time.perf_counter() - start) / len(batch["index"])
    return fit_plan(each, tried, half, min(particles, len(source)), minutes, radius)


def fit_plan(
    each: float, tried: int, half: int, particles: int, minutes: float, radius: int | None
) -> RenderingPlan:
    """Chooses radius and number of particles for some time.

    Args:
        each: Seconds that the inference of a particle takes at the radius ``tried``.
        tried: Fourier pixels; time goes with their square.
        half: Half the box, the largest radius.
        particles: How many particles to look at, at most.
        minutes: How long the evaluation may take.
        radius: The radius where it is given.

    Returns:
        The plan.
    """

    def seconds(radius: int, count: int) -> float:
        return (_PASSES * count + _DRAWN) * each * (radius / tried) ** 2

    chosen, limit = radius, 60 * minutes
    if chosen is None:
        largest = math.floor(tried * math.sqrt(limit / seconds(tried, min(particles, _ENOUGH))))
        chosen = min(half, max(min(half, _SMALLEST), largest))
    per_particle = _PASSES * each * (chosen / tried) ** 2
    affordable = int((limit - seconds(chosen, 0)) / per_particle)
    count = min(particles, max(_FEWEST, affordable))
    return RenderingPlan(chosen, count, seconds(chosen, count) / 60)


def infer_by_rendering(
    run: FinishedRun,
    *,
    radius: int | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    console: Console | None = None,
    fitted: int = _FITTED,
) -> FinishedRun:
    """Takes the encoder out of a run and infers through its decoder instead.

    Nothing is trained. The prior is as wide as the conformations that the run gives to a sample of
    its particles, and the noise is what the decoder leaves unexplained of that sample.

    Args:
        run: The run; `open_run`. Its decoder and the poses of its particles are used.
        radius: Radius in Fourier pixels of what is compared with images; None is half the box.
            Time goes with its square.
        batch_size: Particles a batch.
        device: Where the model works.
        console: Where progress is shown; None shows none.
        fitted: Number of particles that the noise is taken from.

    Returns:
        The same run with another module and no stored conformations.

    Raises:
        ValueError: If particles have no poses, or the radius is not positive.
        TypeError: If the run's model has no decoder that renders.
    """
    module: Any = run.module
    decoder: Any = module.decoder if isinstance(module, HasDecoder) else None
    if not isinstance(decoder, VolumeDecoder):
        raise TypeError(
            f"{run.folder}: conformations are found by a decoder with render(conformation, "
            f"rotation, disc), found {type(decoder).__name__}"
        )
    if radius is not None and radius < 1:
        raise ValueError(f"the radius of what is compared must be positive, found {radius}")
    target = torch.device(device)
    particles = Particles(run, batch_size, target)
    rows = particles.sample(_SAMPLE)
    module.to(target)
    with evaluating(module):
        known = _inferred(run.model().infer, particles, rows, "Sampling conformations", console)
    mean = torch.cat([inference.mean.float() for inference in known])
    log_variance = torch.cat([inference.log_variance.float() for inference in known])
    rendering = HeterogeneousReconstruction(
        module.box_size,
        mean.shape[1],
        encoder=RenderedPosterior,
        decoder=lambda _box_size, _dim: cast(nn.Module, decoder),
        encoder_radius=radius,
        pixel_size=module.pixel_size,
        intensity_scale=module.intensity_scale,
    ).to(target)
    posterior = rendering.encoder
    posterior.match_prior(mean, log_variance)  # type: ignore[operator]
    posterior.train()
    few = particles.sample(fitted)
    _inferred(rendering.infer, particles, few, "Measuring the noise by rendering", console)
    compared = radius or module.box_size // 2
    words = "found by rendering through the decoder, without the encoder, comparing"
    facts = {**run.facts, "z": f"{words} {compared} Fourier pixels"}
    return replace(run, module=rendering.eval(), stored=None, facts=facts)


@torch.no_grad()
def _inferred(
    infer: Callable[[ParticleBatch], Inference],
    particles: Particles,
    rows: npt.NDArray[np.int64],
    words: str,
    console: Console | None,
) -> list[Inference]:
    """Posteriors of some particles, batch by batch."""
    found: list[Inference] = []
    with show_progress(console) as progress:
        task = progress.add_task(words, total=len(rows))
        for batch in particles.batches(rows):
            found.append(infer(batch))
            progress.update(task, advance=len(batch["index"]))
    return found
