"""Particles of a run to look at while a model is trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sized
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from cryo_disentangle.adapters import ModelAdapter
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.labels import read_labels
from cryo_disentangle.types import ParticleBatch, flatten_particles, observation

__all__ = [
    "all_batches",
    "first_particles",
    "held_out_batches",
    "held_out_samples",
    "true_factors",
]


def held_out_batches(
    trainer: L.Trainer, adapter: ModelAdapter, count: int
) -> Iterator[ParticleBatch]:
    """Yields the first held-out particles of this process, or, where none are held out, of all.

    The training loader is never read from, so that its state stays that of the training.

    Args:
        trainer: A Trainer that fits.
        adapter: How its batches are to be understood.
        count: Number of particles, at most.

    Yields:
        Single particles on the module's device.

    Raises:
        TypeError: If there is no data set to read from, or a batch holds no particles.
    """
    seen = 0
    for batch in _particles(trainer, adapter, _validation_loader(trainer) or _all_loader(trainer)):
        yield _finite(first_particles(batch, count - seen))
        seen += len(batch["index"])
        if seen >= count:
            return


def held_out_samples(
    trainer: L.Trainer, adapter: ModelAdapter, count: int
) -> Iterator[ParticleBatch]:
    """Yields held-out batches as they come, pairs of frames as pairs, until there are enough.

    Args:
        trainer: A Trainer that fits.
        adapter: How its batches are to be understood.
        count: Number of particles that are enough; the last batch is whole.

    Yields:
        Particles or pairs on the module's device.

    Raises:
        TypeError: As `held_out_batches`.
    """
    seen = 0
    for batch in _samples(trainer, adapter, _validation_loader(trainer) or _all_loader(trainer)):
        yield _finite(batch)
        seen += batch["index"].numel()
        if seen >= count:
            return


def all_batches(trainer: L.Trainer, adapter: ModelAdapter) -> Iterator[ParticleBatch]:
    """Yields this process's share of all particles.

    They are those that the data module predicts, else those of the training data set in its order.

    Args:
        trainer: A Trainer that fits.
        adapter: How its batches are to be understood.

    Yields:
        Single particles on the module's device; ``index`` tells their place among all.

    Raises:
        TypeError: If there is no data set to read from, or a batch holds no particles.
    """
    place, step = trainer.global_rank, trainer.world_size
    for batch in _particles(trainer, adapter, _all_loader(trainer)):
        if not _predicts(trainer):
            # A loop that knows no numbers of particles may count each batch from 0.
            count = len(batch["index"])
            batch["index"] = torch.arange(place, place + step * count, step)
            place += step * count
        yield _finite(batch)


def true_factors(trainer: L.Trainer, path: str | Path) -> Tensor:
    """Reads the true factors of a run's particles.

    Args:
        trainer: A Trainer that fits.
        path: ``truth.npz`` of the particle file, or of the selected particles.

    Returns:
        Shape (N, F), in the order that ``index`` of batches counts in.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no factors, or they are of another number of particles.
    """
    factors = read_labels(path).factors
    if factors is None:
        raise ValueError(f"{path}: true factors expected, found none")
    stack = getattr(trainer.datamodule, "stack", None)  # type: ignore[attr-defined]
    # Batches count within the selection, and the truth is of the whole file.
    if isinstance(stack, ParticleStack):
        factors = factors[stack.selection.of(len(factors), path)]
    return torch.from_numpy(factors)


def _validation_loader(trainer: L.Trainer) -> Iterable[Any] | None:
    """The first loader of held-out particles, or None."""
    loaders = trainer.val_dataloaders
    if isinstance(loaders, list | tuple):
        return loaders[0] if loaders else None
    return loaders


def _predicts(trainer: L.Trainer) -> bool:
    """Whether a data module says what all particles are."""
    data: L.LightningDataModule | None = trainer.datamodule  # type: ignore[attr-defined]
    return data is not None and is_overridden("predict_dataloader", data, L.LightningDataModule)


def _all_loader(trainer: L.Trainer) -> Iterable[Any]:
    """All particles in order, this process's share of them."""
    if _predicts(trainer):
        loader: Iterable[Any] = trainer.datamodule.predict_dataloader()  # type: ignore[attr-defined]
        return loader
    training = trainer.train_dataloader
    dataset = getattr(training, "dataset", None)
    if not isinstance(training, DataLoader) or not isinstance(dataset, Sized):
        raise TypeError(
            "particles to look at come from a validation loader, a data module's "
            "predict_dataloader or the data set of a DataLoader, found a training loader of type "
            f"{type(training).__name__}"
        )
    rows = range(trainer.global_rank, len(dataset), trainer.world_size)
    return DataLoader(
        Subset(training.dataset, rows),
        batch_size=training.batch_size or 1,
        collate_fn=training.collate_fn,
    )


def _samples(
    trainer: L.Trainer, adapter: ModelAdapter, loader: Iterable[Any]
) -> Iterator[ParticleBatch]:
    """Batches on the module's device."""
    for batch in loader:
        moved = trainer.strategy.batch_to_device(trainer.precision_plugin.convert_input(batch))
        yield adapter.batch(moved)


def _particles(
    trainer: L.Trainer, adapter: ModelAdapter, loader: Iterable[Any]
) -> Iterator[ParticleBatch]:
    """Batches as single particles on the module's device."""
    for batch in _samples(trainer, adapter, loader):
        yield flatten_particles(batch).copy()


def _finite(batch: ParticleBatch) -> ParticleBatch:
    """The particles whose images are finite, as those are not that a run was told to skip."""
    finite = observation(batch).isfinite().flatten(1).all(1)
    if bool(finite.all()):
        return batch
    tensors = cast(dict[str, Tensor], batch)
    return cast(ParticleBatch, {name: value[finite] for name, value in tensors.items()})


def first_particles(batch: ParticleBatch, count: int) -> ParticleBatch:
    """Takes the first particles of a batch.

    Args:
        batch: Single particles.
        count: How many, at most.

    Returns:
        Their batch.
    """
    tensors = cast(dict[str, Tensor], batch)
    return cast(ParticleBatch, {name: value[:count] for name, value in tensors.items()})
