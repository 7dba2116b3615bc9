"""Particles for Lightning: split, loaders, and what a checkpoint keeps of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

from cryo_disentangle.particles.blocks import BlockShuffledEpochs
from cryo_disentangle.particles.dataset import BatchedDataset, ParticleDataset
from cryo_disentangle.particles.pairs import (
    PairedDataset,
    earlier_frames,
    next_frames,
    split_trajectories,
)
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import (
    HartleyPreprocessing,
    ImageSource,
    Preprocessing,
)
from cryo_disentangle.particles.sampling import (
    BatchesInOrder,
    InOrder,
    ParticleLoader,
    ShuffledEpochs,
    evaluation_loader,
    split_indices,
)
from cryo_disentangle.particles.stack import ParticleStack
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["ParticleData"]


class ParticleData(PreparedData):
    """Particle stacks from files, split into training and validation at random.

    Files are opened when first needed. A checkpoint keeps the normalisation and the split, so that
    a resumed run or a prediction from it treats images as the training did. Each process of a
    distributed run reads its own share; nothing is read twice and no trainer setting is needed.

    For models of time, training and validation can be of pairs: the batch's tensors get the shape
    (B, 2, ...), a frame and the next one of its trajectory. An epoch has every such pair once, and
    the split is by whole trajectories. Predictions are of all particles, one by one, either way.

    Args:
        particles: Particle file: .mrcs, .mrc, .star (RELION 3.0, 3.1, 5), .cs, or .txt with one
            stack a line.
        poses: cryoDRGN's poses.pkl, in place of poses in the particle file.
        ctf: cryoDRGN's ctf.pkl, in place of CTF parameters in the particle file.
        labels: Archive (.npz) with arrays named time, trajectory, temperature (in kelvin) or
            factors (true ones), a row for each particle; the simulator's truth.npz is one. Other
            arrays in it are left alone.
        indices: 0-based selection of images: .pkl (cryoDRGN's --ind), .npy or .txt.
        datadir: Folder of the stacks that a .star, .cs or .txt names; by default its own.
        preprocessing: What is done to images: HartleyPreprocessing (cryoDRGN's; the default) or
            RealPreprocessing.
        pairs: Whether samples are pairs of frames, by the labels time and trajectory.
        batch_size: Particles, or pairs, a batch and process.
        validation_fraction: Share of particles, or of trajectories where samples are pairs, held
            out for validation; may be 0.
        seed: Seed of the split and of the training order.
        num_workers: Worker processes of each loader; 0 is the fastest for local files.
        shuffle_block: Number of neighbouring particles that training reads together from spinning
            disks and network file systems, shuffled within windows of 32 blocks; null shuffles all
            particles, the better order where files are in memory or on solid-state disks.

    Raises:
        ValueError: If ``batch_size`` or ``shuffle_block`` is smaller than one.
    """

    def __init__(  # noqa: PLR0913 - each is an option of the command line
        self,
        particles: str | Path,
        poses: str | Path | None = None,
        ctf: str | Path | None = None,
        labels: str | Path | None = None,
        indices: str | Path | None = None,
        datadir: str | Path | None = None,
        preprocessing: Preprocessing | None = None,
        pairs: bool = False,
        batch_size: int = 8,
        validation_fraction: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
        shuffle_block: int | None = None,
    ) -> None:
        super().__init__(preprocessing or HartleyPreprocessing())
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {batch_size}")
        if shuffle_block is not None and shuffle_block < 1:
            raise ValueError(f"shuffle_block must be at least 1, found {shuffle_block}")
        self.particles, self.ctf = particles, ctf
        self.poses: str | Path | Pose | None = poses
        self.labels, self.indices, self.datadir = labels, indices, datadir
        self.pairs = pairs
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.validation_fraction, self.shuffle_block = validation_fraction, shuffle_block
        self._tolerant = False
        self._validation: npt.NDArray[np.int64] | None = None

    @cached_property
    def stack(self) -> ParticleStack:
        """The particles, opened at first use."""
        return ParticleStack.open(
            self.particles,
            poses=self.poses,
            ctf=self.ctf,
            labels=self.labels,
            indices=self.indices,
            datadir=self.datadir,
        )

    def image_source(self) -> ImageSource:
        """The stack; bad images are left out here and complained of where they are used."""
        return self.stack.tolerant()

    def tolerate_bad_images(self) -> None:
        """Lets loaders made from now on deliver constant or non-finite images as NaN.

        Without it they end with an error that names the image.
        """
        self._tolerant = True

    @property
    def box_size(self) -> int:
        """Image side in pixels."""
        return self.stack.box_size

    @property
    def pixel_size(self) -> float:
        """Å per pixel."""
        return self.stack.pixel_size

    @property
    def n_particles(self) -> int:
        """Number of particles, held-out ones included."""
        return len(self.stack)

    @property
    def split(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """0-based indices of particles for training and for validation, both ascending."""
        if self._validation is not None:
            return np.setdiff1d(np.arange(len(self.stack)), self._validation), self._validation
        if self.pairs:
            return split_trajectories(*self._tracks, self.validation_fraction, self.seed)
        return split_indices(len(self.stack), self.validation_fraction, self.seed)

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
        """All particles in order, one by one."""
        order = InOrder(np.arange(len(self.stack)), *self._process())
        return evaluation_loader(self._dataset(), order, self.batch_size, self.num_workers)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps: the normalisation and the validation indices."""
        return {
            "norm": list(self.norm),
            "n_particles": len(self.stack),
            "validation": torch.from_numpy(self.split[1]),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the normalisation, and the split if it is of as many particles.

        Args:
            state_dict: What `state_dict` returned.
        """
        self._restore_norm(state_dict["norm"])
        if state_dict["n_particles"] == len(self.stack):
            self._validation = state_dict["validation"].numpy()

    @cached_property
    def _tracks(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Each particle's trajectory, and the row of its next frame there."""
        labels = self.stack.labels
        if labels.trajectory is None or labels.time is None:
            raise ValueError(
                f"pairs need the labels time and trajectory, found {sorted(labels.known())} "
                f"(labels: {self.labels})"
            )
        return labels.trajectory, next_frames(labels.time, labels.trajectory, str(self.labels))

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
            samples,
            self.seed,
            self.shuffle_block,
            *rank,
            fixed=fixed,
            prefetch=self.stack.prefetch,
        )

    def _dataset(self) -> ParticleDataset:
        """The particles with the normalisation at hand."""
        stack = self.stack.tolerant() if self._tolerant else self.stack
        return ParticleDataset(stack, self.preprocessing)
