"""Particles held out of training whose truth is known, prepared as the model's own."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import lightning as L
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.held_out.sources import (
    SimulatedFolder,
    SimulatedSource,
    SimulatedStream,
)
from cryo_disentangle.imaging.ctf import ctf_terms
from cryo_disentangle.metrics.permutations import TrueGenerator
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import Preprocessing
from cryo_disentangle.simulation import SimulatedParticles, Simulation
from cryo_disentangle.simulation.transfer import apply_contrast_transfer
from cryo_disentangle.types import ParticleBatch, Pose

__all__ = ["HeldOutParticles", "HeldOutSource", "make_true_generator"]

HeldOutSource: TypeAlias = str | Path | Simulation | SimulatedParticles
"""A folder that ``cryo-disentangle simulate`` has written, or what makes particles when asked."""


class HeldOutParticles:
    """Simulated particles, distributed over processes in whole batches, without padding.

    Images are prepared by ``preprocessing``, else as the Trainer's DataModule does, with its
    normalisation, else as the given `SimulatedParticles` does.

    Args:
        source: Where they come from.
        particles: How many at most; of a stack, evenly spread over it.
        batch_size: Particles a batch at most.
        preprocessing: What is done to images; where it has no normalisation, it is measured on the
            held-out particles.

    Raises:
        ValueError: If a number is below 2.
    """

    def __init__(
        self,
        source: HeldOutSource,
        particles: int,
        batch_size: int,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        if particles < 2 or batch_size < 2:
            raise ValueError(
                f"particles and batch_size must be at least 2, found {particles} and {batch_size}"
            )
        self._given = source
        self._particles, self._batch_size = particles, batch_size
        self._preprocessing = preprocessing
        self._source: SimulatedSource | None = None

    @classmethod
    def of(
        cls,
        source: HeldOutSource | None,
        particles: int,
        batch_size: int,
        preprocessing: Preprocessing | None,
    ) -> HeldOutParticles | None:
        """Makes held-out particles of a source, or none of none.

        Args:
            source: As for the class; None makes none.
            particles: As for the class.
            batch_size: As for the class.
            preprocessing: As for the class.

        Returns:
            The particles, or None.
        """
        return None if source is None else cls(source, particles, batch_size, preprocessing)

    def open(self, trainer: L.Trainer) -> None:
        """Opens files, and refuses what can't serve before any work is done.

        Args:
            trainer: Its DataModule tells how images are prepared.

        Raises:
            FileNotFoundError: If a file of a simulated stack is missing.
            ValueError: If true factors are missing, box or pixel size differ from those of the
                training data, or nothing tells how to prepare images.
        """
        self._source = _open(self._given)
        _refuse_another_grid(self._source, _datamodule(trainer))
        self._known(trainer)

    def batches(self, trainer: L.Trainer) -> Iterator[ParticleBatch]:
        """Reads or simulates this process's share.

        Args:
            trainer: Tells the processes, and how images are prepared.

        Yields:
            Single particles with true factors and rotations. Every process gets some: where there
            are fewer batches than processes, one that another has, too.
        """
        parts = self._parts()
        dataset = self._opened().dataset(self._fitted(trainer))
        for number in range(trainer.global_rank % len(parts), len(parts), trainer.world_size):
            yield dataset.__getitems__(parts[number].tolist())

    def true_generator(self, trainer: L.Trainer) -> TrueGenerator:
        """Makes the generator g* that the particles were made by, noise-free.

        Args:
            trainer: Its DataModule tells how images are prepared.

        Returns:
            The generator of images from true factors.

        Raises:
            ValueError: If the molecule of a stack can't be built again.
        """
        return make_true_generator(self._opened(), self._fitted(trainer))

    @torch.no_grad()
    def noise_std(self, trainer: L.Trainer) -> float:
        """Measures the noise of prepared images on the first batch.

        Args:
            trainer: Its DataModule tells how images are prepared.

        Returns:
            Root mean square of what the images have beyond the true ones.
        """
        dataset = self._opened().dataset(self._fitted(trainer))
        batch = dataset.__getitems__(self._parts()[0].tolist())
        pose = Pose(batch["rotation"], batch.get("translation"))
        clean = self.true_generator(trainer).generate(batch["factors"], pose, batch)
        return float((batch["images"] - clean).double().square().mean().sqrt())

    def _parts(self) -> list[npt.NDArray[np.int64]]:
        """Rows of each batch; sizes differ by one at most."""
        rows = self._opened().rows(self._particles)
        return np.array_split(rows, math.ceil(len(rows) / self._batch_size))

    def _opened(self) -> SimulatedSource:
        """The source after `open`."""
        if self._source is None:
            raise ValueError("held-out particles are not open yet: call open(trainer) first")
        return self._source

    def _known(self, trainer: L.Trainer) -> Preprocessing | PreparedData:
        """Who tells how images are prepared."""
        for known in (self._preprocessing, _datamodule(trainer), self._given):
            if isinstance(known, Preprocessing | PreparedData):
                return known
        raise ValueError(
            "it is not known how to prepare held-out images for the model: give "
            "preprocessing, or train with a DataModule that has one (PreparedData)"
        )

    def _fitted(self, trainer: L.Trainer) -> Preprocessing:
        """What is done to images, with its normalisation."""
        known = self._known(trainer)
        if isinstance(known, PreparedData):
            # Asked for each time, as a checkpoint may have brought another normalisation.
            return known.preprocessing
        self._preprocessing = self._opened().fit(known)
        return self._preprocessing


def make_true_generator(source: SimulatedSource, preprocessing: Preprocessing) -> TrueGenerator:
    """Makes the generator g* that simulated particles were made by, noise-free.

    Args:
        source: Where the particles come from.
        preprocessing: What is done to images, with its normalisation.

    Returns:
        The generator of images from true factors.

    Raises:
        FileNotFoundError: If a stack has no description of its molecule.
        ValueError: If the molecule can't be built again.
    """
    molecule, mixing = source.molecule()

    def render(factors: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        hinges, rotation = factors.cpu().float(), pose.rotation.cpu().float()
        hinges = hinges if mixing is None else mixing.mix(hinges)
        if hinges.shape[1] != molecule.dim:
            raise ValueError(
                f"no true images of factors alone: {hinges.shape[1]} true factors do not determine "
                f"the {molecule.dim} coordinates of {type(molecule).__name__}"
            )
        translation = rotation.new_zeros(len(rotation), 2)
        if pose.translation is not None:
            translation = pose.translation.cpu().float()
        # The truth doesn't depend on the precision in which a model is trained.
        with torch.autocast("cpu", enabled=False):
            images = molecule.project(
                hinges, rotation, translation, source.box_size, source.pixel_size
            )
            if "ctf" in batch:
                terms = {name: value.cpu() for name, value in ctf_terms(batch).items()}
                images = apply_contrast_transfer(images, batch["ctf"].cpu().float(), **terms)
            prepared = preprocessing(-images)
        return prepared.to(batch["images"])

    return TrueGenerator(render)


def _open(source: HeldOutSource) -> SimulatedSource:
    """The folder or the simulation."""
    if isinstance(source, SimulatedParticles):
        return SimulatedStream(source.simulation)
    if isinstance(source, Simulation):
        return SimulatedStream(source)
    return SimulatedFolder(Path(source))


def _datamodule(trainer: L.Trainer) -> L.LightningDataModule | None:
    """The run's DataModule, where it has one."""
    return getattr(trainer, "datamodule", None)


def _refuse_another_grid(source: SimulatedSource, data: L.LightningDataModule | None) -> None:
    """Refuses held-out images of another size than those that the model is trained on."""
    box_size = getattr(data, "box_size", source.box_size)
    pixel_size = getattr(data, "pixel_size", source.pixel_size)
    if box_size != source.box_size or not math.isclose(pixel_size, source.pixel_size, rel_tol=1e-3):
        raise ValueError(
            f"held-out particles of {source.name} have box size {source.box_size} and "
            f"{source.pixel_size:g} Å per pixel, those of the run {box_size} and {pixel_size:g}"
        )
