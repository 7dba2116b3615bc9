"""Statistics for Lightning: the same split, pairs, order and loaders as images have."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.splitting import SplitData, SplitSettings
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.folder import StatisticsFolder
from cryo_disentangle.statistics.particle_files import (
    ParticleFiles,
    check_made_of,
    make_missing,
)
from cryo_disentangle.statistics.settings import SubspaceSettings

__all__ = ["StatisticsData"]

_SETTINGS, _AS_IN_FILES = SubspaceSettings(), CtfOverrides()


class StatisticsData(SplitData):
    """Particles' statistics in a subspace of volumes, in place of their images.

    Split, pairs of frames, order and what a checkpoint keeps are those of `ParticleData`; no image
    is read. The folder is opened, and all in it checked, when it is first needed. With
    ``particles`` it is made where it is missing, as the command ``statistics`` does, and training
    refuses one that was made of others.

    Args:
        statistics: Folder of statistics; null is ``statistics`` in the run's folder (commands).
        labels: Archive (.npz) with arrays named time, trajectory, temperature (in kelvin) or
            factors (true ones), a row for each particle of the particle file, or for each one that
            has statistics; the simulator's truth.npz is one. Other arrays in it are left alone.
        pairs: Whether samples are pairs of frames, by the labels time and trajectory.
        batch_size: Particles, or pairs, a batch and process.
        validation_fraction: Share of particles, or of trajectories where samples are pairs, held
            out for validation; may be 0.
        seed: Seed of the split and of the training order.
        num_workers: Worker processes of each loader; 0 is the fastest.
        particles: Particle file with known poses: .mrcs, .mrc, .star, .cs or .txt; null where
            statistics are there.
        poses: poses.pkl, in place of poses in the particle file.
        ctf: ctf.pkl, in place of CTF parameters in the particle file.
        indices: 0-based selection of images: .pkl (cryoDRGN's --ind), .npy or .txt.
        datadir: Folder of the stacks that a .star, .cs or .txt names.
        invert: Whether images are multiplied by -1, as white particles with a CTF need; null is
            what the particle file says, and yes where it does not.
        alignments: Group of fields that poses of a .cs are read from: alignments_class_0 of an
            ab-initio reconstruction or a heterogeneous refinement of that class.
        optics: Voltage, spherical aberration, amplitude contrast, phase shift, pixel and box size
            in place of those of files, for every particle.
        settings: How the subspace is estimated.

    Raises:
        ValueError: If ``batch_size`` is smaller than one.
    """

    def __init__(  # noqa: PLR0913 - each is an option of the command line
        self,
        statistics: str | Path | None = None,
        labels: str | Path | None = None,
        pairs: bool = False,
        batch_size: int = 512,
        validation_fraction: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
        particles: str | Path | None = None,
        poses: str | Path | None = None,
        ctf: str | Path | None = None,
        indices: str | Path | None = None,
        datadir: str | Path | None = None,
        invert: bool | None = None,
        alignments: str = "alignments3D",
        optics: CtfOverrides = _AS_IN_FILES,
        settings: SubspaceSettings = _SETTINGS,
    ) -> None:
        super().__init__()
        self.split_by(SplitSettings(pairs, batch_size, validation_fraction, seed, num_workers))
        self.statistics, self.labels, self.settings = statistics, labels, settings
        self.files: ParticleFiles | None = None
        if particles is not None:
            self.files = ParticleFiles(
                particles, poses, ctf, indices, datadir, invert, alignments, optics
            )

    @cached_property
    def folder(self) -> StatisticsFolder:
        """The statistics, opened at first use, and made if there are none."""
        if self.statistics is None:
            raise ValueError("statistics: expected a folder (data.statistics), found none")
        if self.files is not None:
            make_missing(Path(self.statistics), self.files, self.settings)
        return StatisticsFolder.open(self.statistics)

    def setup(self, stage: str) -> None:
        """Refuses to train on statistics of other particles.

        Args:
            stage: What the Trainer is about to do.

        Raises:
            ValueError: If the folder was made of other particles, or with other settings.
            OSError: If the particles are missing.
        """
        if stage == "fit" and self.files is not None:
            check_made_of(self.folder, self.files, self.settings)

    @property
    def box_size(self) -> int:
        """Image side in pixels."""
        return self.folder.origin.box_size

    @property
    def pixel_size(self) -> float:
        """Å per pixel."""
        return self.folder.origin.pixel_size

    @cached_property
    def norm_std(self) -> float:
        """Standard deviation that images were divided by."""
        return self.folder.subspace().norm

    @property
    def n_particles(self) -> int:
        """Number of particles with statistics, held-out ones included."""
        return len(self.folder)

    @cached_property
    def _known(self) -> ParticleLabels:
        """Labels of the particles that have statistics, in their order."""
        if self.labels is None:
            return ParticleLabels()
        found, total = read_labels(self.labels), self.folder.origin.n_particles
        if len(found) == total:
            return found.take(self.folder.statistics.index.numpy())
        if len(found) == self.n_particles:
            return found
        raise ValueError(
            f"{self.labels}: {len(found)} rows, expected one for each particle: {total} of "
            f"{self.folder.origin.particles}, or the {self.n_particles} that have statistics in "
            f"{self.statistics}"
        )

    def _labels(self) -> tuple[ParticleLabels, str]:
        return self._known, str(self.labels)

    def _dataset(self) -> StatisticsDataset:
        return StatisticsDataset(self.folder.statistics, self._known)
