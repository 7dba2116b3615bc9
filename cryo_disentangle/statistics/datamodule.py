"""Statistics for Lightning: the same split, pairs, order and loaders as images have."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.splitting import SplitData, SplitSettings
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.folder import StatisticsFolder

__all__ = ["StatisticsData"]


class StatisticsData(SplitData):
    """Particles' statistics in a subspace of volumes, in place of their images.

    Split, pairs of frames, order and what a checkpoint keeps are those of `ParticleData`; no image
    is read. The folder is opened, and all in it checked, when it is first needed.

    Args:
        statistics: Folder of statistics.
        labels: Archive (.npz) with arrays named time, trajectory, temperature (in kelvin) or
            factors (true ones), a row for each particle of the particle file, or for each one that
            has statistics; the simulator's truth.npz is one. Other arrays in it are left alone.
        pairs: Whether samples are pairs of frames, by the labels time and trajectory.
        batch_size: Particles, or pairs, a batch and process.
        validation_fraction: Share of particles, or of trajectories where samples are pairs, held
            out for validation; may be 0.
        seed: Seed of the split and of the training order.
        num_workers: Worker processes of each loader; 0 is the fastest.

    Raises:
        ValueError: If ``batch_size`` is smaller than one.
    """

    def __init__(
        self,
        statistics: str | Path,
        labels: str | Path | None = None,
        pairs: bool = False,
        batch_size: int = 512,
        validation_fraction: float = 0.1,
        seed: int = 0,
        num_workers: int = 0,
    ) -> None:
        super().__init__()
        self.split_by(SplitSettings(pairs, batch_size, validation_fraction, seed, num_workers))
        self.statistics, self.labels = statistics, labels

    @cached_property
    def folder(self) -> StatisticsFolder:
        """The statistics, opened at first use."""
        return StatisticsFolder.open(self.statistics)

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
