"""All particles of a run, a batch at a time, and what is inferred of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from lightning.fabric.utilities import move_data_to_device
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from cryo_disentangle.adapters import AdaptedModel
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.judgement.inferred import InferredRows
from cryo_disentangle.types import ParticleBatch, flatten_particles

__all__ = ["AllRows", "Particles", "infer_all", "show_progress"]

_LABELS = ("time", "trajectory", "temperature", "factors")


def show_progress(console: Console | None) -> Progress:
    """Makes bars that tell how far the work is.

    Args:
        console: Where to; None shows nothing.

    Returns:
        A context manager.
    """
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=console is None,
    )


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
            Their rows, ascending.
        """
        count = min(count, self._count)
        return np.arange(count, dtype=np.int64) * self._count // max(count, 1)

    def batches(self, rows: npt.NDArray[np.int64] | None = None) -> Iterator[ParticleBatch]:
        """Reads particles.

        Args:
            rows: Which, shape (N,); None reads all.

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
            yield move_data_to_device(particles, self.device)


@dataclass(frozen=True)
class AllRows:
    """What is inferred and known of all N particles, in their order.

    Attributes:
        mean: Posterior means, shape (N, Z).
        log_variance: Logarithm of the posteriors' variances, shape (N, Z); None where there is
            none.
        rotation: Known rotations, else inferred ones, shape (N, 3, 3); None where there are none.
        labels: What else is known, by name, shape (N, ...): time, trajectory, temperature, factors.
    """

    mean: Tensor
    log_variance: Tensor | None
    rotation: Tensor | None
    labels: dict[str, Tensor]

    def take(self, rows: npt.NDArray[np.int64]) -> InferredRows:
        """Some particles as pictures take them.

        Args:
            rows: Which, shape (N,).

        Returns:
            Their rows; a missing log-variance counts as 0.
        """
        log_variance = torch.zeros_like(self.mean)
        if self.log_variance is not None:
            log_variance = self.log_variance
        factors = self.labels.get("factors")
        return InferredRows(
            rows,
            self.mean[rows].numpy(),
            log_variance[rows].numpy(),
            None if self.rotation is None else self.rotation[rows].numpy(),
            None if factors is None else factors[rows].float().numpy(),
        )


@torch.no_grad()
def infer_all(
    run: FinishedRun, model: AdaptedModel | None, particles: Particles, progress: Progress
) -> AllRows:
    """Infers the conformation of every particle, or takes what the run has stored.

    Args:
        run: The run.
        model: Its model; None where conformations are stored.
        particles: Its particles.
        progress: Where to tell how far it is.

    Returns:
        A few numbers a particle; images are not kept.

    Raises:
        ValueError: If there are not as many stored conformations as particles.
    """
    if run.stored is not None and len(run.stored.mean) != len(particles):
        raise ValueError(
            f"{run.folder}: conformations of {len(run.stored.mean)} particles are stored, and "
            f"there are {len(particles)}: give the particles that the run was made from"
        )
    kept: dict[str, Tensor] = {}
    task = progress.add_task("Inferring conformations", total=len(particles))
    at = 0
    for batch in particles.batches():
        count = len(batch["index"])
        for name, value in _rows(run, model, batch, at).items():
            if name not in kept:
                kept[name] = torch.empty(len(particles), *value.shape[1:], dtype=value.dtype)
            kept[name][at : at + count] = value.cpu()
        at += count
        progress.update(task, advance=count)
    labels = {name: kept[name] for name in _LABELS if name in kept}
    return AllRows(kept["mean"], kept.get("log_variance"), kept.get("rotation"), labels)


def _rows(
    run: FinishedRun, model: AdaptedModel | None, batch: ParticleBatch, at: int
) -> dict[str, Tensor]:
    """What to keep of a batch that begins at a row."""
    known = cast("dict[str, Tensor]", batch)
    kept = {name: known[name] for name in ("rotation", *_LABELS) if name in known}
    if model is not None:
        found = model.infer(batch)
        kept |= {"mean": found.mean.float(), "log_variance": found.log_variance.float()}
        if found.pose is not None:
            kept.setdefault("rotation", found.pose.rotation.float())
    elif run.stored is not None:
        end = at + len(batch["index"])
        kept["mean"] = torch.from_numpy(run.stored.mean[at:end])
        if run.stored.log_variance is not None:
            kept["log_variance"] = torch.from_numpy(run.stored.log_variance[at:end])
    return kept
