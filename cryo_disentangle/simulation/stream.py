"""Simulated particles for training without files: every epoch new ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cryo_disentangle.particles import (
    BatchesInOrder,
    HartleyPreprocessing,
    ImageSource,
    InOrder,
    ParticleLoader,
    PreparedData,
    Preprocessing,
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


class SimulatedDataset(Dataset[ParticleBatch]):
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

    def __getitem__(self, index: int | Sequence[int]) -> ParticleBatch:
        """One particle, without the batch axis, or a batch."""
        if not isinstance(index, int):
            return self.__getitems__(index)
        batch = cast("dict[str, Tensor]", self.__getitems__([index]))
        return cast("ParticleBatch", {key: value[0] for key, value in batch.items()})

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Simulates a batch.

        Args:
            indices: Numbers of particles, from 0.

        Returns:
            The batch, in that order, with true ``factors`` and, where the process has them,
            ``time``, ``trajectory`` and ``temperature``.
        """
        index = torch.as_tensor(indices, dtype=torch.int64)
        images, particles = self.simulation.images(
            Draws((self.simulation.seed, self.stream), index)
        )
        known = particles._asdict()
        del known["hinges"]
        batch = {"images": self.preprocessing(images), "index": index}
        batch |= {key: value for key, value in known.items() if value is not None}
        return cast("ParticleBatch", batch)


class _NewEpochs(ShuffledEpochs):
    """New particles each epoch, for each rank a run of consecutive numbers of its own."""

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's numbers of the epoch, after the first ``start``."""
        epoch = 0 if self.fixed else self.epoch
        first = epoch * len(self.indices) + self.rank * len(self)
        return iter(range(first + self.start, first + len(self)))


class SimulatedParticles(PreparedData):
    """Simulated particles, made while training: no two epochs have a particle in common.

    An epoch has the simulation's ``n_images`` particles, of which each rank gets a run of its own.
    A batch is a function of the seed, the epoch, the rank and its place in the epoch, whatever the
    number of worker processes, and a run resumed within an epoch goes on with the next batch.
    Validation particles are the same each time, and are no training particles.

    Args:
        simulation: Where particles come from.
        preprocessing: What is done to images: HartleyPreprocessing (cryoDRGN's; the default) or
            RealPreprocessing.
        batch_size: Particles a batch and process.
        validation_images: Number of validation particles, which predictions are of, too.
        num_workers: Worker processes of the training loader; 0 simulates in the training process.

    Raises:
        ValueError: If a number is out of range.
    """

    def __init__(
        self,
        simulation: Simulation,
        preprocessing: Preprocessing | None = None,
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
        """New particles each epoch, resumable within an epoch."""
        numbers = np.arange(self.simulation.n_images)
        order = _NewEpochs(
            numbers, self.simulation.seed, *self._process(), fixed=self._overfitting()
        )
        return ParticleLoader(self._dataset(_TRAINING), order, self.batch_size, self.num_workers)

    def val_dataloader(self) -> DataLoader[ParticleBatch]:
        """Validation particles in order."""
        numbers = np.arange(self.validation_images)
        batches = BatchesInOrder(numbers, self.batch_size, *self._process())
        return evaluation_loader(self._dataset(_VALIDATION), batches)

    def test_dataloader(self) -> DataLoader[ParticleBatch]:
        """The validation particles."""
        return self.val_dataloader()

    def predict_dataloader(self) -> DataLoader[ParticleBatch]:
        """The validation particles; ranks may get one more or less than others."""
        order = InOrder(np.arange(self.validation_images), *self._process())
        return evaluation_loader(self._dataset(_VALIDATION), order, self.batch_size)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the normalisation."""
        return {"norm": list(self.norm)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the normalisation.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._restore_norm(state_dict["norm"])

    def _dataset(self, stream: int) -> SimulatedDataset:
        """The particles of a stream."""
        return SimulatedDataset(self.simulation, self.preprocessing, stream)
