"""All particles of a run, a batch at a time, and what is inferred of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from lightning.fabric.utilities import move_data_to_device
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch.utils.data import DataLoader

from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.judgement.inferred import InferredParticles, infer_particles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.statistics.processes import process
from cryo_disentangle.types import ParticleBatch, flatten_particles

__all__ = ["Particles", "infer_all", "show_progress"]


def show_progress(console: Console | None) -> Progress:
    """Makes progress bars.

    Args:
        console: Where to; None shows nothing.

    Returns:
        A context manager.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
        disable=console is None,
    )


class _Rate(ProgressColumn):
    """Particles, or steps, a second."""

    def render(self, task: Task) -> Text:
        """Writes the rate, once there is one."""
        return Text("" if not task.speed else f"{task.speed:.3g}/s")


class Particles:
    """Particles of a run, read in batches, in memory that does not grow with their number.

    Args:
        run: The run.
        batch_size: Particles a batch at most.
        device: Where batches go.
        factors: True factors of all particles, shape (N, F), where they don't come with them.

    Raises:
        TypeError: If the run's data have no particles that can be counted.
    """

    def __init__(
        self,
        run: FinishedRun,
        batch_size: int,
        device: torch.device,
        factors: npt.NDArray[np.float32] | None = None,
    ) -> None:
        loader = run.data.predict_dataloader()
        dataset = getattr(loader, "dataset", None)
        if not isinstance(loader, DataLoader) or not isinstance(dataset, Sized):
            raise TypeError(
                f"{run.folder}: particles are read through a data module's predict_dataloader, a "
                f"DataLoader of a data set with a length; found {type(loader).__name__} of "
                f"{type(dataset).__name__}"
            )
        self._loader, self._count = loader, len(dataset)
        self._batch_size, self.device = batch_size, device
        self._factors = None if factors is None else torch.from_numpy(factors)

    def __len__(self) -> int:
        """Number of particles."""
        return self._count

    def sample(self, count: int) -> npt.NDArray[np.int64]:
        """Chooses particles evenly spread over all.

        Args:
            count: How many, at most.

        Returns:
            Their places, ascending.
        """
        return evenly(self._count, count)

    def batches(self, rows: npt.NDArray[np.int64] | None = None) -> Iterator[ParticleBatch]:
        """Reads particles.

        Args:
            rows: Their places, shape (N,); None reads all.

        Yields:
            Single particles on the device, in the order of ``rows``; sizes differ by one at most.
        """
        wanted = np.arange(self._count) if rows is None else rows
        parts = np.array_split(wanted, max(1, math.ceil(len(wanted) / self._batch_size)))
        reader: DataLoader[Any] = DataLoader(
            self._loader.dataset,
            batch_sampler=cast("Sequence[list[int]]", [part.tolist() for part in parts]),
            collate_fn=self._loader.collate_fn,
        )
        for part, batch in zip(parts, reader, strict=True):
            particles = flatten_particles(batch).copy()
            if self._factors is not None:
                particles["factors"] = self._factors[part]
            particles["position"] = torch.from_numpy(part)
            yield move_data_to_device(particles, self.device)


def infer_all(
    run: FinishedRun,
    particles: Particles,
    progress: Progress,
    places: npt.NDArray[np.int64] | None = None,
) -> InferredParticles:
    """Infers the latents of particles, or takes what the run has stored.

    Each of several processes infers its own particles.

    Args:
        run: The run.
        particles: Its particles.
        progress: Receives the progress.
        places: Places of the particles, shape (S,); None infers all.

    Returns:
        The table of the particles, in their order.

    Raises:
        ValueError: If there are not as many stored latents as particles.
    """
    if run.stored is not None and len(run.stored) != len(particles):
        raise ValueError(
            f"{run.folder}: conformations of {len(run.stored)} particles are stored, and "
            f"there are {len(particles)}: give the particles that the run was made from"
        )
    rank, processes = process()
    wanted = np.arange(len(particles)) if places is None else places
    mine = np.array_split(wanted, processes)[rank]
    task = progress.add_task("Inferring conformations", total=len(mine))
    batches, advance = particles.batches(mine), partial(progress.advance, task)
    found = _of_all_processes(infer_particles(run.model().infer, batches, advance))
    if isinstance(run.data, ParticleData):
        # Batches count within the selection.
        found = replace(found, index=torch.from_numpy(run.data.stack.rows)[found.index])
    if run.stored is not None:
        # A look-up has to give some variances: that none are kept must not become certainty.
        stored = run.stored if places is None else run.stored.take(places)
        return replace(found, log_variance=stored.log_variance)
    return found


def _of_all_processes(found: InferredParticles) -> InferredParticles:
    """The particles of all processes, in order, on the host."""
    processes = process()[1]
    if processes == 1:
        return found
    parts: list[InferredParticles] = [found] * processes
    dist.all_gather_object(parts, found)
    return InferredParticles.joined(parts)
