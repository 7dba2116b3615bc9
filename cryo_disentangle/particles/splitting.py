"""What DataModules of a fixed set of particles share: split, pairs, order and loaders."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from cryo_disentangle.particles.blocks import BlockShuffledEpochs
from cryo_disentangle.particles.dataset import BatchedDataset
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.particles.pairs import (
    PairedDataset,
    earlier_frames,
    next_frames,
    split_trajectories,
)
from cryo_disentangle.particles.sampling import (
    BatchesInOrder,
    InOrder,
    ParticleLoader,
    ShuffledEpochs,
    evaluation_loader,
    split_indices,
)
from cryo_disentangle.types import ParticleBatch

__all__ = ["SharedData", "SplitData", "SplitSettings"]


class SharedData(L.LightningDataModule):
    """A DataModule of which each process reads its own share."""

    def _process(self) -> tuple[int, int]:
        """Rank of this process and how many there are."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _overfitting(self) -> bool:
        """Whether the Trainer was told to overfit, and wants one order for all epochs."""
        # Lightning declares no type for it.
        return getattr(self.trainer, "overfit_batches", 0) > 0


class SplitSettings(NamedTuple):
    """Settings of splitting and loading; each is a key of the configuration file.

    Attributes:
        pairs: Whether samples are pairs of frames, by the labels time and trajectory.
        batch_size: Particles, or pairs, a batch and process.
        validation_fraction: Share of particles, or of trajectories where samples are pairs, held
            out for validation; may be 0.
        seed: Seed of the split and of the training order.
        num_workers: Worker processes of each loader; 0 is the fastest for local files.
        shuffle_block: Number of neighbouring particles that training reads together; None shuffles
            all particles.
    """

    pairs: bool
    batch_size: int
    validation_fraction: float
    seed: int
    num_workers: int
    shuffle_block: int | None = None


class SplitData(SharedData):
    """Particles split into training and validation at random, as single ones or pairs of frames.

    A base to stand before others: call `split_by` when their parts are made. Each process of a
    distributed run reads its own share; nothing is read twice and no trainer setting is needed.
    """

    def split_by(self, settings: SplitSettings) -> None:
        """Takes how particles are split and loaded.

        Args:
            settings: As they are.

        Raises:
            ValueError: If ``batch_size`` or ``shuffle_block`` is smaller than one.
        """
        if settings.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {settings.batch_size}")
        block = settings.shuffle_block
        if block is not None and block < 1:
            raise ValueError(f"shuffle_block must be at least 1, found {block}")
        self.pairs, self.batch_size, self.validation_fraction = settings[:3]
        self.seed, self.num_workers, self.shuffle_block = settings[3:]
        self._validation: npt.NDArray[np.int64] | None = None

    @property
    def n_particles(self) -> int:
        """Number of particles, held-out ones included."""
        raise NotImplementedError

    def _dataset(self) -> BatchedDataset:
        """The particles, one by one."""
        raise NotImplementedError

    def _labels(self) -> tuple[ParticleLabels, str]:
        """What is known of the particles, and where that was read."""
        raise NotImplementedError

    def _prefetch(self, rows: npt.NDArray[np.int64]) -> None:
        """Lets the operating system read particles ahead; nothing where that is of no use."""

    @property
    def split(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """0-based indices of particles for training and for validation, both ascending."""
        if self._validation is not None:
            return np.setdiff1d(np.arange(self.n_particles), self._validation), self._validation
        if self.pairs:
            return split_trajectories(*self._tracks, self.validation_fraction, self.seed)
        return split_indices(self.n_particles, self.validation_fraction, self.seed)

    def train_dataloader(self) -> ParticleLoader:
        """Shuffled training particles, or pairs, resumable within an epoch."""
        dataset, samples = self._samples(self.split[0])
        return ParticleLoader(dataset, self._order(samples), self.batch_size, self.num_workers)

    def val_dataloader(self) -> DataLoader[ParticleBatch] | list[DataLoader[ParticleBatch]]:
        """Validation particles, or pairs, in order; no loader where there are none."""
        dataset, samples = self._samples(self.split[1])
        if not len(samples):
            return []
        batches = BatchesInOrder(samples, self.batch_size, *self._process())
        return evaluation_loader(dataset, batches, num_workers=self.num_workers)

    def test_dataloader(self) -> DataLoader[ParticleBatch] | list[DataLoader[ParticleBatch]]:
        """The validation particles, or pairs."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[ParticleBatch]:
        """Returns a loader of all particles in order."""
        order = InOrder(np.arange(self.n_particles), *self._process())
        return evaluation_loader(self._dataset(), order, self.batch_size, self.num_workers)

    @property
    def selected(self) -> npt.NDArray[np.int64] | None:
        """Row of each particle in the file; None where there are all of them, in order."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: how many particles, their rows, and who is held out."""
        selected = self.selected
        return {
            "n_particles": self.n_particles,
            "validation": torch.from_numpy(self.split[1]),
            "selected": None if selected is None else torch.from_numpy(selected),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the split if it is of as many particles, or of others of the same file.

        Particles that were held out stay so under another selection, wherever they stand in it.

        Args:
            state_dict: What `state_dict` returned; before selections were kept, without
                ``selected``.
        """
        held_out = state_dict["validation"].numpy()
        before, now = state_dict.get("selected"), self.selected
        if "selected" not in state_dict or (before is None and now is None):
            if state_dict["n_particles"] == self.n_particles:
                self._validation = held_out
            return
        rows = held_out if before is None else before.numpy()[held_out]
        places = np.flatnonzero(np.isin(np.arange(self.n_particles) if now is None else now, rows))
        if 0 < len(places) < self.n_particles:
            self._validation = places

    @cached_property
    def _tracks(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each particle's trajectory, and the row of its next frame there."""
        labels, source = self._labels()
        if labels.trajectory is None or labels.time is None:
            raise ValueError(
                f"pairs need the labels time and trajectory, found {sorted(labels.known())} "
                f"(labels: {source})"
            )
        return labels.trajectory, next_frames(labels.time, labels.trajectory, source)

    def _samples(self, rows: npt.NDArray[np.int64]) -> tuple[BatchedDataset, npt.NDArray[np.int64]]:
        """What delivers some particles or their pairs, and by which indices."""
        if not self.pairs:
            return self._dataset(), rows
        following = self._tracks[1]
        return PairedDataset(self._dataset(), following), earlier_frames(rows, following)

    def _order(self, samples: npt.NDArray[np.int64]) -> ShuffledEpochs:
        """The order that training goes through samples in."""
        rank, fixed = self._process(), self._overfitting()
        if self.shuffle_block is None:
            return ShuffledEpochs(samples, self.seed, *rank, fixed=fixed)
        # Of a pair only the earlier frame is announced: the next one lies beside it.
        return BlockShuffledEpochs(
            samples, self.seed, self.shuffle_block, *rank, fixed=fixed, prefetch=self._prefetch
        )
