"""Simulated particles for training without files: every epoch new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from cryo_disentangle.particles import HartleyPreprocessing
from cryo_disentangle.particles.dataset import BatchedDataset
from cryo_disentangle.particles.pairs import PairedDataset
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import ImageSource, Preprocessing
from cryo_disentangle.particles.sampling import (
    BatchesInOrder,
    InOrder,
    ParticleLoader,
    ShuffledEpochs,
    evaluation_loader,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.simulation import Simulation
from cryo_disentangle.types import ParticleBatch

__all__ = ["SimulatedDataset", "SimulatedParticles"]

# Streams 0 and 1 of a seed are the stack and the calibration.
_TRAINING, _VALIDATION = 2, 3
_CALIBRATION_IMAGES = 512
# Random numbers are drawn for the whole span of a batch: for this many pairs in milliseconds, for
# an epoch of a million in more time than rendering takes.
_SHUFFLED_PAIRS = 2**14


class _Calibration:
    """Typical images, by which the normalisation is measured."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def __len__(self) -> int:
        """Number of images."""
        return _CALIBRATION_IMAGES

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Simulates images at indices (B,), shape (B, D, D)."""
        rows = np.asarray(indices)
        draws = self._simulation.calibration_draws(0, _CALIBRATION_IMAGES)
        return self._simulation.images(Draws(draws.seed, draws.index[rows]))[0].numpy()


@runtime_checkable
class _Trajectories(Protocol):
    """A process whose trajectories are runs of as many consecutive particles each."""

    @property
    def frames(self) -> int:
        """Particles of a trajectory."""
        ...


class SimulatedDataset(BatchedDataset):
    """A stream of preprocessed particles, made when asked for; particle i is always the same.

    Args:
        simulation: Where particles come from.
        preprocessing: What is done to images, fitted.
        stream: Names the stream; another one is independent.
    """

    def __init__(self, simulation: Simulation, preprocessing: Preprocessing, stream: int) -> None:
        self.simulation = simulation
        self.preprocessing = preprocessing
        self.stream = stream

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Simulates a batch.

        Args:
            indices: Numbers of particles, from 0.

        Returns:
            The batch, in that order, with true ``factors`` and, where the process has them,
            ``time``, ``trajectory`` and ``temperature``.
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        return self.batch(Draws((self.simulation.seed, self.stream), index))

    def batch(self, draws: Draws) -> ParticleBatch:
        """Simulates particles of any stream.

        Args:
            draws: Their random numbers.

        Returns:
            The batch.
        """
        images, particles = self.simulation.images(draws)
        known = particles._asdict()
        del known["hinges"]
        batch = {"images": self.preprocessing(images), "index": draws.index}
        batch |= {key: value for key, value in known.items() if value is not None}
        return cast("ParticleBatch", batch)


class _NewEpochs(ShuffledEpochs):
    """New particles each epoch, for each rank a run of consecutive numbers of its own."""

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's numbers of the epoch, after the first ``start``."""
        return iter(range(self._first + self.start, self._first + len(self)))

    @property
    def _first(self) -> int:
        """First number of this rank in the epoch."""
        return self._epoch * len(self.indices) + self.rank * len(self)

    @property
    def _epoch(self) -> int:
        """The epoch, or the only one there is."""
        return 0 if self.fixed else self.epoch


class _NewPairs(_NewEpochs):
    """New pairs each epoch, named by their earlier frames.

    Each rank has a run of consecutive pairs, shuffled, since neighbours resemble each other.

    Args:
        count: Pairs of an epoch.
        frames: Particles of a trajectory.
        seed: Seed of the order.
        rank: Number of this process.
        world_size: How many processes share the pairs.
        fixed: Whether every epoch is the first.
    """

    def __init__(
        self, count: int, frames: int, seed: int, rank: int, world_size: int, *, fixed: bool
    ) -> None:
        super().__init__(np.arange(count), seed, rank, world_size, fixed=fixed)
        self.frames = frames

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's pairs of the epoch, after the first ``start``."""
        for low in range(0, len(self), _SHUFFLED_PAIRS):
            generator = np.random.default_rng([self.seed, self._epoch, self.rank, low])
            order = generator.permutation(min(_SHUFFLED_PAIRS, len(self) - low))
            pairs = self._first + low + order[max(0, self.start - low) :]
            yield from _earlier_frames(pairs, self.frames).tolist()


def _earlier_frames(pairs: npt.NDArray[np.int64], frames: int) -> npt.NDArray[np.int64]:
    """Numbers of the earlier frames of pairs: of each trajectory, all but the last."""
    return pairs + pairs // (frames - 1)


class SimulatedParticles(PreparedData):
    """Simulated particles, made while training: no two epochs have a particle in common.

    An epoch has the simulation's ``n_images`` particles, of which each rank gets a run of its own.
    A batch is a function of the seed, the epoch, the rank and its place in the epoch, whatever the
    number of worker processes, and a run resumed within an epoch goes on with the next batch.
    Validation particles are the same each time, and are no training particles.

    For models of time, training and validation can be of pairs: the batch's tensors get the shape
    (B, 2, ...), a frame and the next one of its trajectory. An epoch has as many new pairs as
    ``n_images`` particles have, in random order. Predictions are of single particles either way.

    Args:
        simulation: Where particles come from.
        preprocessing: What is done to images: HartleyPreprocessing (cryoDRGN's; the default) or
            RealPreprocessing.
        pairs: Whether samples are pairs of frames; the process must have trajectories, as
            LaplaceWalk.
        batch_size: Particles, or pairs, a batch and process.
        validation_images: Number of validation particles, which predictions are of, too.
        num_workers: Worker processes of the training loader; 0 simulates in the training process.

    Raises:
        ValueError: If a number is out of range, or there are no pairs.
    """

    def __init__(
        self,
        simulation: Simulation,
        preprocessing: Preprocessing | None = None,
        pairs: bool = False,
        batch_size: int = 64,
        validation_images: int = 1000,
        num_workers: int = 0,
    ) -> None:
        super().__init__(preprocessing or HartleyPreprocessing())
        if batch_size < 1 or validation_images < 1 or num_workers < 0:
            raise ValueError(
                "batch_size and validation_images must be positive and num_workers not negative, "
                f"found {batch_size}, {validation_images} and {num_workers}"
            )
        self.simulation = simulation
        self.batch_size, self.num_workers = batch_size, num_workers
        self.validation_images = validation_images
        self._frames = self._trajectory_length() if pairs else None

    def image_source(self) -> ImageSource:
        """A calibration sample."""
        return _Calibration(self.simulation)

    @property
    def box_size(self) -> int:
        """Image side in pixels."""
        return self.simulation.box_size

    @property
    def pixel_size(self) -> float:
        """Å per pixel."""
        return self.simulation.pixel_size

    def train_dataloader(self) -> ParticleLoader:
        """New particles, or pairs, each epoch, resumable within an epoch."""
        process = (self.simulation.seed, *self._process())
        fixed = self._overfitting()
        dataset: BatchedDataset = self._dataset(_TRAINING)
        if self._frames is None:
            order = _NewEpochs(np.arange(self.simulation.n_images), *process, fixed=fixed)
        else:
            dataset = PairedDataset(dataset)
            count = _count_pairs(self.simulation.n_images, self._frames)
            order = _NewPairs(count, self._frames, *process, fixed=fixed)
        return ParticleLoader(dataset, order, self.batch_size, self.num_workers)

    def val_dataloader(self) -> DataLoader[ParticleBatch]:
        """Validation particles, or pairs, in order."""
        dataset: BatchedDataset = self._dataset(_VALIDATION)
        samples = np.arange(self.validation_images)
        if self._frames is not None:
            dataset = PairedDataset(dataset)
            count = _count_pairs(self.validation_images, self._frames)
            samples = _earlier_frames(np.arange(count), self._frames)
        batches = BatchesInOrder(samples, self.batch_size, *self._process())
        return evaluation_loader(dataset, batches)

    def test_dataloader(self) -> DataLoader[ParticleBatch]:
        """The validation particles, or pairs."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[ParticleBatch]:
        """The validation particles one by one; ranks may get one more or less than others."""
        order = InOrder(np.arange(self.validation_images), *self._process())
        return evaluation_loader(self._dataset(_VALIDATION), order, self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """Returns what a checkpoint keeps: the normalisation."""
        return {"norm": list(self.norm)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the normalisation.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._restore_norm(state_dict["norm"])

    def _trajectory_length(self) -> int:
        """Particles of each trajectory."""
        process = self.simulation.process
        if not isinstance(process, _Trajectories):
            raise ValueError(
                f"pairs need a process with trajectories (LaplaceWalk), found "
                f"{type(process).__name__}"
            )
        images = (self.simulation.n_images, self.validation_images)
        if process.frames < 2 or min(images) < 2:
            raise ValueError(
                "pairs need trajectories of at least 2 frames, and n_images and validation_images "
                f"of at least 2, found {process.frames}, {images[0]} and {images[1]}"
            )
        return process.frames

    def _dataset(self, stream: int) -> SimulatedDataset:
        """The particles of a stream."""
        return SimulatedDataset(self.simulation, self.preprocessing, stream)


def _count_pairs(n_particles: int, frames: int) -> int:
    """Pairs among the first particles: each but the first of a trajectory ends one."""
    return n_particles - -(-n_particles // frames)
