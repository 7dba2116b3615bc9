"""Batches for Lightning, resumable within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from cryo_disentangle.particles.dataset import collated
from cryo_disentangle.particles.sampling import BatchesInOrder, InOrder, ShuffledEpochs
from cryo_disentangle.types import ParticleBatch

__all__ = ["ParticleLoader", "evaluation_loader"]


def _torch_loader(
    dataset: Dataset[ParticleBatch],
    sampler: ShuffledEpochs | BatchesInOrder | InOrder,
    batch_size: int | None,
    num_workers: int,
) -> DataLoader[ParticleBatch]:
    """PyTorch's loader of batches that the data set collates."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collated,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
        # Without one, each epoch would take a number from the global generator, and a resumed run
        # would differ from an uninterrupted one.
        generator=torch.Generator().manual_seed(0),
    )


class ParticleLoader:
    """Training batches, resumable within an epoch.

    Lightning saves `state_dict` with a checkpoint and restores it on ``--ckpt_path``: training goes
    on with the first batch that was not yet delivered. It is no `DataLoader`, since Lightning would
    exchange that one's sampler in distributed runs and ask for workers that only slow it down.

    Args:
        dataset: Particles whose ``__getitems__`` collates, for example a `ParticleDataset`.
        sampler: Their order; Lightning tells it the epoch.
        batch_size: Particles a batch; the last of an epoch may be smaller.
        num_workers: Worker processes; 0 reads in the training process, the fastest for local files.

    Attributes:
        sampler: As given.
    """

    def __init__(
        self,
        dataset: Dataset[ParticleBatch],
        sampler: ShuffledEpochs,
        batch_size: int,
        num_workers: int = 0,
    ) -> None:
        self.sampler = sampler
        self._batch_size = batch_size
        self._loader = _torch_loader(dataset, sampler, batch_size, num_workers)
        self._resume: tuple[int, int] | None = None
        self._position = (0, 0)

    def __len__(self) -> int:
        """Batches in a whole epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[ParticleBatch]:
        """Yields the batches of the sampler's epoch, from where a restored state points to."""
        # A generator: nothing is read before the first batch is asked for, when Lightning has told
        # the sampler its epoch.
        epoch, done = self.sampler.epoch, 0
        if self._resume is not None and self._resume[0] == epoch:
            done = self._resume[1]
        self._resume = None
        self.sampler.start = done * self._batch_size
        for batch in self._loader:
            done += 1
            self._position = (epoch, done)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Returns the epoch and how many of its batches were delivered."""
        epoch, done = self._resume or self._position
        return {"epoch": self.sampler.epoch, "batches": done if epoch == self.sampler.epoch else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._resume = (int(state_dict["epoch"]), int(state_dict["batches"]))
        self.sampler.set_epoch(self._resume[0])


def evaluation_loader(
    dataset: Dataset[ParticleBatch],
    sampler: InOrder | BatchesInOrder,
    batch_size: int | None = None,
    num_workers: int = 0,
) -> DataLoader[ParticleBatch]:
    """Builds a loader that goes through particles once, in order.

    Args:
        dataset: Particles whose ``__getitems__`` collates, for example a `ParticleDataset`; with
            `BatchesInOrder` its ``__getitem__`` must take a list as well.
        sampler: Which, and in which order.
        batch_size: Particles a batch, or None where the sampler yields batches.
        num_workers: Worker processes.

    Returns:
        The loader.
    """
    return _torch_loader(dataset, sampler, batch_size, num_workers)
