"""Order of particles, reproducible and shared between processes, and loaders that keep to it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, DistributedSampler, Sampler, SequentialSampler

from cryo_disentangle.particles.dataset import BatchedDataset, collated
from cryo_disentangle.types import ParticleBatch

__all__ = [
    "BatchesInOrder",
    "InOrder",
    "ParticleLoader",
    "ShuffledEpochs",
    "evaluation_loader",
    "split_indices",
]

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


_T = TypeVar("_T")


class _Shard(DistributedSampler[_T]):
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


# A `SequentialSampler`, too, which Lightning does not exchange when a run is to overfit.
class InOrder(_Shard[int], SequentialSampler):
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


class BatchesInOrder(_Shard[Any], SequentialSampler):
    """Each index once, in order, in as many batches on every rank.

    Under DistributedDataParallel the forward pass of a validation inside ``fit`` talks to the other
    ranks, so that all of them must take as many steps. Shares that differ by one particle are
    therefore cut into as many batches, without padding.

    Args:
        indices: What to go through, shape (N,).
        batch_size: Samples a batch; the last, or some where shares are uneven, are smaller.
        rank: Number of this process.
        world_size: How many processes share the indices.

    Raises:
        ValueError: If there are fewer indices than processes.
    """

    def __init__(
        self, indices: npt.NDArray[np.int64], batch_size: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if len(indices) < world_size:
            raise ValueError(
                f"{len(indices)} validation samples are too few for {world_size} processes"
            )
        super().__init__(indices, rank, world_size)
        largest, smallest = -(-len(indices) // world_size), len(indices) // world_size
        # With batches of one, an uneven share has fewer particles than batches are wanted.
        self._n_batches = min(-(-largest // batch_size), smallest)
        self.batch_size = batch_size

    def __iter__(self) -> Iterator[Any]:
        """Yields this rank's batches, each a list of indices."""
        mine = self.indices[self.rank :: self.num_replicas]
        cuts = np.arange(self.batch_size, len(mine), self.batch_size)
        if len(cuts) + 1 == self._n_batches:
            yield from (part.tolist() for part in np.split(mine, cuts))
        else:
            yield from (part.tolist() for part in np.array_split(mine, self._n_batches))

    def __len__(self) -> int:
        """How many batches each rank gets."""
        return self._n_batches


class ShuffledEpochs(_Shard[int]):
    """A new order each epoch, a function of seed and epoch alone.

    Every rank gets the same number of indices; a remainder of less than ``world_size`` is left out,
    another one each epoch.

    Args:
        indices: What to shuffle, shape (N,).
        seed: Seed of the orders.
        rank: Number of this process.
        world_size: How many processes share the indices.
        fixed: Whether every epoch has the order of the first, to overfit a few batches.

    Attributes:
        start: How many of this rank's indices the next iteration leaves out at its beginning.

    Raises:
        ValueError: If there are fewer indices than processes.
    """

    def __init__(
        self,
        indices: npt.NDArray[np.int64],
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        fixed: bool = False,
    ) -> None:
        if len(indices) < world_size:
            raise ValueError(
                f"{len(indices)} training samples are too few for {world_size} processes"
            )
        super().__init__(indices, rank, world_size)
        self.seed = seed
        self.fixed = fixed
        self.start = 0

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's indices of the epoch, after the first ``start``."""
        order = self._generator().permutation(self.indices)
        return self._shard(order[: len(self) * self.num_replicas], self.start)

    def __len__(self) -> int:
        """How many each rank gets in a whole epoch."""
        return len(self.indices) // self.num_replicas

    def _generator(self) -> np.random.Generator:
        """Source of this epoch's order, the same on every rank."""
        return np.random.default_rng([self.seed, _ORDER, 0 if self.fixed else self.epoch])


class _TrainingBatches(Sampler[list[int]]):
    """Indices cut into batches, of which none has a lone particle where others have more.

    Losses that compare particles have nothing to compare a lone one with. Under
    DistributedDataParallel they can't leave it out either: their parameters would get no gradient.
    So a lone last particle joins the batch before it.
    """

    def __init__(self, order: ShuffledEpochs, batch_size: int) -> None:
        self._order, self._batch_size = order, batch_size

    def __iter__(self) -> Iterator[list[int]]:
        """Yields the batches of the epoch, after the indices that the order leaves out."""
        indices = iter(self._order)
        batch = list(islice(indices, self._batch_size))
        while batch:
            following = list(islice(indices, self._batch_size))
            if len(following) == 1 < self._batch_size:
                batch, following = batch + following, []
            yield batch
            batch = following

    def __len__(self) -> int:
        """How many there are in a whole epoch."""
        full, rest = divmod(len(self._order), self._batch_size)
        return full + (rest > 1 or full == 0)


def _torch_loader(
    dataset: BatchedDataset,
    num_workers: int,
    **batches: Any,  # noqa: ANN401 - a batch sampler, or a sampler and a size
) -> DataLoader[ParticleBatch]:
    """PyTorch's loader of batches that the data set collates."""
    return DataLoader(
        dataset,
        **batches,
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
        dataset: Particles, or pairs of them.
        sampler: Their order; Lightning sets its epoch.
        batch_size: Samples a batch; the last of an epoch may be smaller, or have one more where one
            would be left alone.
        num_workers: Worker processes; 0 reads in the training process, the fastest for local files.

    Attributes:
        sampler: As given.
    """

    def __init__(
        self,
        dataset: BatchedDataset,
        sampler: ShuffledEpochs,
        batch_size: int,
        num_workers: int = 0,
    ) -> None:
        self.sampler = sampler
        self._batch_size = batch_size
        batches = _TrainingBatches(sampler, batch_size)
        self._loader = _torch_loader(dataset, num_workers, batch_sampler=batches)
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
        whole = done == len(self)
        self.sampler.start = len(self.sampler) if whole else done * self._batch_size
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
    dataset: BatchedDataset,
    sampler: InOrder | BatchesInOrder,
    batch_size: int | None = None,
    num_workers: int = 0,
) -> DataLoader[ParticleBatch]:
    """Builds a loader that goes through particles once, in order.

    Args:
        dataset: Particles, or pairs of them.
        sampler: Which, and in which order.
        batch_size: Samples a batch, or None where the sampler yields batches.
        num_workers: Worker processes.

    Returns:
        The loader.
    """
    return _torch_loader(dataset, num_workers, batch_size=batch_size, sampler=sampler)
