"""Statistics on disk: a folder of memory-mapped arrays and what made them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.files.arrays import map_array
from cryo_disentangle.statistics.origin import StatisticsOrigin, read_origin
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.subspace import Subspace

__all__ = ["ARRAYS", "DESCRIPTION", "SUBSPACE", "StatisticsFolder"]

ARRAYS: dict[str, np.dtype[np.generic]] = {
    "precision": np.dtype(np.float32),
    "information": np.dtype(np.float32),
    "offset": np.dtype(np.float32),
    "index": np.dtype(np.int64),
    "half": np.dtype(np.int64),
    "rotation": np.dtype(np.float32),
}
DESCRIPTION = "statistics.json"
SUBSPACE = "subspace.pt"


class StatisticsFolder:
    """Statistics of particles in a folder, memory-mapped.

    Use `StatisticsFolder.open`.

    Args:
        path: The folder.
        origin: What they were made of.
        statistics: The arrays, mapped: reading a row reads that row of the files.
    """

    def __init__(
        self, path: Path, origin: StatisticsOrigin, statistics: ParticleStatistics
    ) -> None:
        self.path, self.origin, self.statistics = path, origin, statistics

    @classmethod
    def open(cls, path: str | Path) -> StatisticsFolder:
        """Opens a folder and checks all that is in it.

        Args:
            path: The folder.

        Returns:
            The statistics.

        Raises:
            FileNotFoundError: If the folder or one of its files is missing.
            ValueError: If a file is damaged, or what is in them does not fit together.
        """
        path = Path(path)
        origin = read_origin(path / DESCRIPTION)
        arrays = {name: _mapped(path / f"{name}.npy", kind) for name, kind in ARRAYS.items()}
        statistics = ParticleStatistics(**arrays)
        statistics.check(str(path))
        last = int(statistics.index.max())
        if last >= origin.n_particles:
            raise ValueError(
                f"{path}: index has row {last} (counted from 0), and {origin.particles} has "
                f"{origin.n_particles} particles"
            )
        return cls(path, origin, statistics)

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.statistics)

    def subspace(self) -> Subspace:
        """Opens the subspace that the statistics are of.

        Returns:
            Its volumes and noise.

        Raises:
            FileNotFoundError: If the folder has none.
            ValueError: If it is another one, or damaged.
        """
        found = Subspace.open(self.path / SUBSPACE)
        if found.digest != self.origin.subspace:
            raise ValueError(
                f"{self.path}: the statistics are of another subspace than {SUBSPACE} beside them: "
                f"{self.origin.subspace[:16]}…, found {found.digest[:16]}…; make them again"
            )
        return found


def _mapped(path: Path, kind: np.dtype[np.generic]) -> Tensor:
    """An array of a folder; what is written to it stays in memory."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.parent}: {path.name} is missing, a folder of statistics has "
            f"{', '.join(f'{name}.npy' for name in ARRAYS)} and {DESCRIPTION}"
        )
    map_array(path, "an array of statistics")
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if array.dtype != kind:
        raise ValueError(f"{path}: expected {kind}, found {array.dtype}")
    return torch.from_numpy(array)
