"""Finished runs judged by the statistics of images in the volumes of their decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from cryo_disentangle.encoders.statistics import coefficient_posterior
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.evaluation.streaming import Particles, infer_all, show_progress
from cryo_disentangle.metrics.particle_rows import evaluating
from cryo_disentangle.modules.statistics_model import StatisticsModel
from cryo_disentangle.particles import ParticleData, ParticleStack
from cryo_disentangle.protocols import VolumeDecoder
from cryo_disentangle.protocols.models import HasDecoder
from cryo_disentangle.statistics import StatisticsData, StatisticsFolder, make_statistics
from cryo_disentangle.statistics.adoption import principal_volumes
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.processes import wait_for_all
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.stages import shown_stages
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.traversals import representative_latents
from cryo_disentangle.types import Inference

__all__ = ["infer_by_statistics", "statistics_model", "volumes_of_run"]

# Particles whose z are looked at, and volumes that span the decoder's.
_SAMPLE, _VOLUMES, _MOST = 2000, 32, 6
# Share of the volumes' variance that more components would have to add.
_REST = 0.01
_SAME_PIXEL_SIZE = 1e-2


class _ExactPosterior(nn.Module):
    """Posterior of the coefficients themselves, under a standard normal prior."""

    def forward(self, information: Tensor, precision: Tensor) -> Inference:
        """Infers the posterior of statistics (B, K) and (B, K, K)."""
        return Inference.of_scale(*coefficient_posterior(information.float(), precision.float()))


def infer_by_statistics(
    run: FinishedRun,
    folder: Path,
    *,
    batch_size: int = 64,
    device: torch.device | str = "cpu",
    console: Console | None = None,
) -> FinishedRun:
    """Takes the encoder out of a run and asks images for coefficients of its decoder's volumes.

    Nothing is trained. The decoder's volumes at a sample of the run's z are spanned by their mean
    and up to 6 principal components; images are read once; and z becomes the posterior of the
    components' coefficients, exact under a standard normal prior.

    Args:
        run: The run; `open_run`. Its decoder and the poses of its particles are used.
        folder: Where statistics are kept; unfinished ones are resumed.
        batch_size: Particles a batch.
        device: Where the model works.
        console: Where progress is shown; None shows none.

    Returns:
        The run with another module, whose data are statistics.

    Raises:
        ValueError: If particles have no poses, z is the same for all, or the decoder's volumes do
            not look like the images.
        TypeError: If the run's model has no decoder of volumes, or its particles are no stack.
        OSError: If the folder can't be written to.
    """
    data: Any = run.data
    stack = getattr(data, "stack", None)
    if not isinstance(stack, ParticleStack):
        raise TypeError(
            f"{run.folder}: --inference statistics takes a run on a particle stack, found "
            f"{type(data).__name__}"
        )
    target = torch.device(device)
    volumes = volumes_of_run(run, stack, batch_size=batch_size, device=target, console=console)
    images = open_images(stack, invert=getattr(data.preprocessing, "invert", True), norm=None)
    rows = ParticleRows(images, stack.rows, int(stack.rows.max()) + 1)
    with shown_stages(hidden=console is None or console.quiet) as told:
        made = make_statistics(rows, folder, SubspaceSettings(), told, volumes, target)
    # The first of several processes has written them.
    wait_for_all()
    return _judged(run, made or StatisticsFolder.open(folder), device)


def volumes_of_run(
    run: FinishedRun,
    stack: ParticleStack,
    *,
    batch_size: int = 64,
    device: torch.device,
    console: Console | None = None,
) -> Tensor:
    """Spans the volumes of a run's decoder at a sample of its z.

    Args:
        run: The run.
        stack: The particles that the volumes are to be compared with.
        batch_size: Particles a batch.
        device: Where the model works.
        console: Where progress is shown; None shows none.

    Returns:
        Their mean and up to 6 principal components, shape (K + 1, D, D, D).

    Raises:
        TypeError: If the run's model has no decoder of volumes.
        ValueError: If z is the same for all particles, or box or pixel size are not the particles'.
    """
    module: Any = run.module
    decoder: Any = module.decoder if isinstance(module, HasDecoder) else None
    if not isinstance(decoder, VolumeDecoder):
        raise TypeError(
            f"{run.folder}: a subspace is taken from a run with a decoder of volumes, found "
            f"{type(decoder).__name__}"
        )
    _check_grid(run, stack)
    run.module.to(device)
    particles = Particles(run, batch_size, device)
    with show_progress(console) as progress, evaluating(run.module), torch.no_grad():
        places = particles.sample(_SAMPLE)
        known = infer_all(run, particles, progress, places if run.stored is None else None)
        latents = np.unique(known.mean.numpy(), axis=0)
        if len(latents) < 2:
            raise ValueError(
                f"{run.folder}: z is the same for all particles, so its decoder shows one volume"
            )
        chosen = representative_latents(latents, min(_VOLUMES, len(latents)))
        found = principal_volumes(decoder, torch.from_numpy(chosen).to(device), len(chosen) - 1)
    share = found[1:].flatten(1).square().sum(1).cpu()
    left = 1 - share.cumsum(0) / share.sum()
    count = min(_MOST, 1 + int((left > _REST).sum()))
    return found[: count + 1].cpu()


def _check_grid(run: FinishedRun, stack: ParticleStack) -> None:
    """Refuses volumes of another box or pixel size than the particles'."""
    data: Any = run.data
    found = (data.box_size, data.pixel_size)
    if found[0] != stack.box_size or abs(found[1] / stack.pixel_size - 1) > _SAME_PIXEL_SIZE:
        raise ValueError(
            f"{run.folder}: volumes of {found[0]} pixels of {found[1]:.4g} Å, and {stack.path} has "
            f"{stack.box_size} of {stack.pixel_size:.4g} Å: give the particles that the run was "
            "trained on, or others of its box and pixel size"
        )


def _judged(run: FinishedRun, folder: StatisticsFolder, device: torch.device | str) -> FinishedRun:
    """The run with statistics in the place of images."""
    module = statistics_model(folder, device)
    source: Any = run.data
    labels = source.labels if isinstance(source, ParticleData) else None
    data = StatisticsData(folder.path, labels)
    if not run.is_cryodrgn:
        kept = source.state_dict()
        data.load_state_dict({name: kept[name] for name in ("n_particles", "validation")})
    words = f"coefficients of {folder.subspace().rank} volumes that span the decoder's"
    facts = {**run.facts, "z": f"{words}, by each image's exact likelihood, without the encoder"}
    return replace(run, data=data, module=module, stored=None, facts=facts, by_statistics=True)


def statistics_model(folder: StatisticsFolder, device: torch.device | str) -> nn.Module:
    """Makes a model whose conformations are the coefficients of volumes themselves.

    Args:
        folder: Statistics in these volumes.
        device: Where it works.

    Returns:
        The model; it infers exact posteriors under a standard normal prior.
    """
    subspace = folder.subspace()
    module = StatisticsModel(
        subspace.decoder(),
        subspace.rank,
        encoder=lambda _rank, _dim: _ExactPosterior(),
        pixel_size=subspace.pixel_size,
        intensity_scale=subspace.norm,
    )
    return module.to(device).eval()
