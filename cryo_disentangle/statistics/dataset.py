"""Statistics as PyTorch takes them: whole batches at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from cryo_disentangle.particles.dataset import BatchedDataset
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.types import ParticleBatch

__all__ = ["StatisticsDataset"]


class StatisticsDataset(BatchedDataset):
    """Statistics of particles with what else is known of them.

    Batches have ``information``, ``precision``, ``rotation`` and ``half``, the labels, and as
    ``index`` the row of each particle in the particle file.

    Args:
        statistics: Of N particles.
        labels: Of the same, in the same order.
    """

    def __init__(self, statistics: ParticleStatistics, labels: ParticleLabels) -> None:
        self._tensors: dict[str, Tensor] = {
            "information": statistics.information,
            "precision": statistics.precision,
            "index": statistics.index,
            "half": statistics.half,
            "rotation": statistics.rotation,
        }
        self._tensors |= {name: torch.from_numpy(rows) for name, rows in labels.known().items()}

    def __len__(self) -> int:
        """Number of particles."""
        return len(self._tensors["index"])

    def __getitems__(self, indices: Sequence[int]) -> ParticleBatch:
        """Reads a batch.

        Args:
            indices: 0-based positions among the N, shape (B,), in any order.

        Returns:
            The particles, in that order.

        Raises:
            IndexError: If an index is out of range.
        """
        rows = torch.as_tensor(indices, dtype=torch.int64)
        return cast("ParticleBatch", {name: part[rows] for name, part in self._tensors.items()})
