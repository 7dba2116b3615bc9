"""Order of particles: reproducible, shared between processes, resumable within an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, DistributedSampler

from cryo_disentangle.particles.dataset import ParticleDataset, collated
from cryo_disentangle.types import ParticleBatch

__all__ = ["InOrder", "ParticleLoader", "ShuffledEpochs", "evaluation_loader", "split_indices"]

_INTS_PER_CHUNK = 2**16
_SPLIT, _ORDER = 0, 1


def split_indices(
    n_particles: int, validation_fraction: float, seed: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Splits particles at random.

    Args:
        n_particles: How many there are.
        validation_fraction: Share of them for validation, at least 0 and less than 1.
        seed: The split is a function of this and ``n_particles`` alone.

    Returns:
        0-based indices for training and for validation, both ascending.

    Raises:
        ValueError: If the fraction is out of range or leaves no particle for training.
    """
    if not 0 <= validation_fraction < 1:
        raise ValueError(f"validation_fraction must be in [0, 1), found {validation_fraction}")
    n_validation = round(n_particles * validation_fraction)
    if n_validation >= n_particles:
        raise ValueError(
            f"validation_fraction {validation_fraction} leaves none of {n_particles} particles "
            f"for training"
        )
    order = np.random.default_rng([seed, _SPLIT]).permutation(n_particles)
    return np.sort(order[n_validation:]), np.sort(order[:n_validation])


class _Shard(DistributedSampler[int]):
    """Every ``world_size``-th index of an order, from ``rank`` on.

    Lightning leaves a `DistributedSampler` alone, so that no trainer setting is needed.
    """

    def __init__(self, indices: npt.NDArray[np.int64], rank: int, world_size: int) -> None:
        super().__init__(
            range(len(indices)),  # type: ignore[arg-type]
            num_replicas=world_size,
            rank=rank,
            shuffle=False,
        )
        self.indices = indices

    def _shard(self, order: npt.NDArray[np.int64], start: int = 0) -> Iterator[int]:
        """Yields this rank's share, with few Python integers alive at a time."""
        mine = order[self.rank :: self.num_replicas][start:]
        for chunk in range(0, len(mine), _INTS_PER_CHUNK):
            yield from mine[chunk : chunk + _INTS_PER_CHUNK].tolist()


class InOrder(_Shard):
    """Each index once, in order; ranks may get one more or less than others (no padding).

    Args:
        indices: What to go through, shape (N,).
        rank: Number of this process.
        world_size: How many processes share the indices.
    """

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's indices."""
        return self._shard(self.indices)

    def __len__(self) -> int:
        """How many this rank gets."""
        return len(range(self.rank, len(self.indices), self.num_replicas))


class ShuffledEpochs(_Shard):
    """A new order each epoch, a function of seed and epoch alone.

    Every rank gets the same number of indices; a remainder of less than ``world_size`` is left out,
    another one each epoch.

    Args:
        indices: What to shuffle, shape (N,).
        seed: Seed of the orders.
        rank: Number of this process.
        world_size: How many processes share the indices.

    Raises:
        ValueError: If there are fewer indices than processes.
    """

    def __init__(
        self, indices: npt.NDArray[np.int64], seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if len(indices) < world_size:
            raise ValueError(
                f"{len(indices)} training particles are too few for {world_size} processes"
            )
        super().__init__(indices, rank, world_size)
        self.seed = seed
        self.start = 0

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's indices of the epoch, after the first ``start``."""
        generator = np.random.default_rng([self.seed, _ORDER, self.epoch])
        order = generator.permutation(self.indices)
        return self._shard(order[: len(self) * self.num_replicas], self.start)

    def __len__(self) -> int:
        """How many each rank gets in a whole epoch."""
        return len(self.indices) // self.num_replicas


class ParticleLoader(DataLoader[ParticleBatch]):
    """Training batches, resumable within an epoch.

    Lightning saves `state_dict` with a checkpoint and restores it on ``--ckpt_path``: training goes
    on with the first batch that was not yet delivered.

    Args:
        dataset: Particles.
        sampler: Their order.
        batch_size: Particles a batch; the last of an epoch may be smaller.
        num_workers: Worker processes; 0 reads in the training process, the fastest for local files.
    """

    def __init__(
        self,
        dataset: ParticleDataset,
        sampler: ShuffledEpochs,
        batch_size: int,
        num_workers: int = 0,
    ) -> None:
        super().__init__(
            dataset,
            batch_size=batch_size,
            sampler=sampler,
            num_workers=num_workers,
            collate_fn=collated,  # type: ignore[arg-type]
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            # Without one, each epoch would take a number from the global generator, and a resumed
            # run would differ from an uninterrupted one.
            generator=torch.Generator().manual_seed(0),
        )
        self._order = sampler
        self._resume: tuple[int, int] | None = None
        self._position = (0, 0)

    def __iter__(self) -> Iterator[ParticleBatch]:  # type: ignore[override]
        """Yields the batches of the sampler's epoch, from where a restored state points to."""
        # A generator: nothing is read before the first batch is asked for, when Lightning has told
        # the sampler its epoch.
        epoch, done = self._order.epoch, 0
        if self._resume is not None and self._resume[0] == epoch:
            done = self._resume[1]
        self._resume = None
        self._order.start = done * (self.batch_size or 1)
        for batch in super().__iter__():
            done += 1
            self._position = (epoch, done)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Returns the epoch and how many of its batches were delivered."""
        epoch, done = self._resume or self._position
        if epoch != self._order.epoch:
            epoch, done = self._order.epoch, 0
        return {"epoch": epoch, "batches": done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes to where `state_dict` was taken.

        Args:
            state: What `state_dict` returned.
        """
        self._resume = (int(state["epoch"]), int(state["batches"]))
        self._order.set_epoch(self._resume[0])


def evaluation_loader(
    dataset: ParticleDataset, sampler: InOrder, batch_size: int, num_workers: int = 0
) -> DataLoader[ParticleBatch]:
    """Builds a loader that goes through particles once, in order.

    Args:
        dataset: Particles.
        sampler: Which, and in which order.
        batch_size: Particles a batch.
        num_workers: Worker processes.

    Returns:
        The loader.
    """
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=sampler,
        num_workers=num_workers,
        collate_fn=collated,  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(0),
    )
