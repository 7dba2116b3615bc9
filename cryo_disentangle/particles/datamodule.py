"""Particles for Lightning: split, loaders, and what a checkpoint keeps of them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import (
    HartleyPreprocessing,
    ImageSource,
    Preprocessing,
)
from cryo_disentangle.particles.splitting import SplitData, SplitSettings
from cryo_disentangle.particles.stack import ParticleStack
from cryo_disentangle.types import Pose

__all__ = ["ParticleData"]

_AS_IN_FILES = CtfOverrides()


class ParticleData(SplitData, PreparedData):
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
        poses: A .star or .cs whose particles are found by cryoSPARC's uid or by image name, or
            cryoDRGN's poses.pkl, in place of poses in the particle file.
        ctf: A .star or .cs, likewise, or cryoDRGN's ctf.pkl, in place of CTF parameters in the
            particle file.
        labels: Archive (.npz) with arrays named time, trajectory, temperature (in kelvin) or
            factors (true ones), a row for each particle; the simulator's truth.npz is one. Other
            arrays in it are left alone.
        indices: 0-based selection of images: .pkl (cryoDRGN's --ind), .npy or .txt.
        datadir: Folder of the stacks that a .star, .cs or .txt names; by default its own, and those
            above it.
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
        alignments: Group of fields that poses of a .cs are read from: alignments_class_0 of an
            ab-initio reconstruction or a heterogeneous refinement of that class.
        optics: Voltage, spherical aberration, amplitude contrast, phase shift, pixel and box size
            in place of those of files, for every particle.

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
        alignments: str = "alignments3D",
        optics: CtfOverrides = _AS_IN_FILES,
    ) -> None:
        super().__init__(preprocessing or HartleyPreprocessing())
        self.split_by(
            SplitSettings(pairs, batch_size, validation_fraction, seed, num_workers, shuffle_block)
        )
        self.particles, self.ctf = particles, ctf
        self.poses: str | Path | Pose | None = poses
        self.labels, self.indices, self.datadir = labels, indices, datadir
        self.alignments, self.optics = alignments, optics
        self._tolerant = False

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
            alignments=self.alignments,
            optics=self.optics,
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
    def selected(self) -> npt.NDArray[np.int64] | None:
        """Row of each particle in the file; None where there are all of them, in order."""
        return None if self.stack.selection.whole else self.stack.rows

    def state_dict(self) -> dict[str, Any]:
        """Returns normalisation, sign and validation indices for a checkpoint."""
        return {
            "norm": list(self.norm),
            "invert": self.preprocessing.invert,
            **super().state_dict(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over the normalisation, and the split if it is of as many particles.

        Args:
            state_dict: What `state_dict` returned.
        """
        # Earlier versions inverted images without reading the contrast from the file.
        self._restore_norm(state_dict["norm"], state_dict.get("invert", True))
        super().load_state_dict(state_dict)

    def _labels(self) -> tuple[ParticleLabels, str]:
        """What is known of the particles, and where that was read."""
        return self.stack.labels, str(self.labels)

    def _prefetch(self, rows: npt.NDArray[np.int64]) -> None:
        """Lets the operating system read images ahead."""
        self.stack.prefetch(rows)

    def _dataset(self) -> ParticleDataset:
        """The particles with the normalisation at hand."""
        stack = self.stack.tolerant() if self._tolerant else self.stack
        return ParticleDataset(stack, self.preprocessing)
