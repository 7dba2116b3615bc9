"""Finished runs whose conformations are found by rendering in the place of the encoder's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch
from rich.console import Console
from torch import nn

from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles, show_progress
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.protocols import HasDecoder, VolumeDecoder
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["infer_by_rendering"]

_SAMPLE = 640


def infer_by_rendering(
    run: FinishedRun,
    *,
    radius: int | None = None,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    console: Console | None = None,
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
    infer = run.model().infer
    known: list[Inference] = []
    batches: list[ParticleBatch] = []
    with show_progress(console) as progress, evaluating(module), torch.no_grad():
        task = progress.add_task("Sampling conformations", total=len(rows))
        for batch in particles.batches(rows):
            batches.append(batch)
            known.append(infer(batch))
            progress.update(task, advance=len(batch["index"]))
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
    with torch.no_grad():
        for batch in batches:
            rendering.infer(batch)
    facts = {**run.facts, "z": "found by rendering through the decoder, without the encoder"}
    return replace(run, module=rendering.eval(), stored=None, facts=facts)
