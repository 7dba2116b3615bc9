"""Statistics written block by block, whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.statistics.folder import ARRAYS, DESCRIPTION, SUBSPACE, StatisticsFolder
from cryo_disentangle.statistics.origin import StatisticsOrigin, read_origin, write_origin

__all__ = ["StatisticsWriter", "write_part"]

_DONE = "done.npy"


class StatisticsWriter:
    """Writes a folder of statistics block by block, whole or not at all.

    Arrays grow in a hidden folder beside ``path`` that takes its place on `finish`. One that an
    interrupted pass of the same origin, particles and rank has left is resumed: `missing`
    says what is still to do. Other processes may write other particles at the same time, once the
    first one has made the writer.

    Args:
        path: The folder to be written.
        origin: What the statistics are made of.
        index: Row of each particle in the particle file, shape (N,), int64.
        half: Its half set, 0 or 1, shape (N,), int64.
        rotation: Its rotation, shape (N, 3, 3).
        rank: Number K of volumes besides the mean.

    Raises:
        FileNotFoundError: If the folder that is to hold ``path`` does not exist.
    """

    def __init__(
        self,
        path: str | Path,
        origin: StatisticsOrigin,
        index: npt.NDArray[np.int64],
        half: npt.NDArray[np.int64],
        rotation: npt.NDArray[np.float32],
        rank: int,
    ) -> None:
        self.path = Path(path)
        if not self.path.resolve().parent.is_dir():
            raise FileNotFoundError(
                f"cannot write {self.path.name}: folder {self.path.resolve().parent} does not exist"
            )
        self.partial = self.path.with_name(f".{self.path.name}.partial")
        given: dict[str, npt.NDArray[Any]] = {"index": index, "half": half, "rotation": rotation}
        if not self._resumable(origin, given, rank):
            self._begin(origin, given, rank)
        self._arrays = {
            name: np.load(self.partial / f"{name}.npy", mmap_mode="r+")
            for name in ("precision", "information", "offset")
        }
        self._done = np.load(self.partial / _DONE, mmap_mode="r+")

    @property
    def missing(self) -> npt.NDArray[np.int64]:
        """Positions among the N that are still to be written, ascending."""
        return np.flatnonzero(~self._done)

    def write(
        self, positions: Tensor, precision: Tensor, information: Tensor, offset: Tensor
    ) -> None:
        """Writes a block.

        Args:
            positions: Which of the N particles, shape (B,), int64.
            precision: Shape (B, K, K).
            information: Shape (B, K).
            offset: Shape (B,).
        """
        at = positions.cpu().numpy()
        blocks = {"precision": precision, "information": information, "offset": offset}
        for name, values in blocks.items():
            self._arrays[name][at] = values.detach().cpu().numpy()
        self._done[at] = True

    def finish(self) -> StatisticsFolder:
        """Moves the folder to its place, and opens it.

        Returns:
            The folder.

        Raises:
            ValueError: If particles are missing, or what was written makes no sense.
        """
        if len(self.missing):
            raise ValueError(
                f"{self.path}: {len(self.missing)} of {len(self._done)} particles have no "
                "statistics yet"
            )
        for array in self._arrays.values():
            array.flush()
        StatisticsFolder.open(self.partial)
        (self.partial / _DONE).unlink()
        before = self.path.with_name(f".{self.path.name}.before")
        if self.path.exists():
            os.replace(self.path, before)
        os.replace(self.partial, self.path)
        shutil.rmtree(before, ignore_errors=True)
        return StatisticsFolder.open(self.path)

    def _resumable(
        self, origin: StatisticsOrigin, given: dict[str, npt.NDArray[Any]], rank: int
    ) -> bool:
        """Whether what an interrupted pass left is of the same statistics."""
        if not (self.partial / _DONE).is_file():
            return False
        left = {name: np.load(self.partial / f"{name}.npy", mmap_mode="r") for name in given}
        shape = np.load(self.partial / "information.npy", mmap_mode="r").shape
        return (
            read_origin(self.partial / DESCRIPTION) == origin
            and shape == (len(given["index"]), rank)
            and all(np.array_equal(left[name], values) for name, values in given.items())
        )

    def _begin(
        self, origin: StatisticsOrigin, given: dict[str, npt.NDArray[Any]], rank: int
    ) -> None:
        """Makes the hidden folder; the file that allows a resume is written last."""
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        write_origin(self.partial / DESCRIPTION, origin)
        for name, values in given.items():
            np.save(self.partial / f"{name}.npy", values.astype(ARRAYS[name]))
        count = len(given["index"])
        shapes = {
            "precision": (count, rank, rank),
            "information": (count, rank),
            "offset": (count,),
        }
        for name, shape in shapes.items():
            self._allocate(name, shape, ARRAYS[name])
        self._allocate("done", (count,), np.dtype(np.bool_))

    def _allocate(self, name: str, shape: tuple[int, ...], kind: np.dtype[np.generic]) -> None:
        """Makes an array of zeros on disk."""
        np.lib.format.open_memmap(
            self.partial / f"{name}.npy", mode="w+", dtype=kind, shape=shape
        ).flush()


def write_part(folder: StatisticsFolder, rows: slice, path: Path) -> StatisticsFolder:
    """Writes the statistics of some particles, with their subspace, as a folder of their own.

    Args:
        folder: Statistics of N particles.
        rows: Positions among the N.
        path: The folder to be written.

    Returns:
        The new folder.

    Raises:
        FileNotFoundError: If the folder that is to hold ``path`` does not exist.
        ValueError: If the particles are of one half set alone.
    """
    part = folder.statistics.take(rows)
    numbered = part.index.numpy(), part.half.numpy(), part.rotation.numpy()
    writer = StatisticsWriter(path, folder.origin, *numbered, part.rank)
    writer.write(torch.arange(len(part)), part.precision, part.information, part.offset)
    shutil.copyfile(folder.path / SUBSPACE, writer.partial / SUBSPACE)
    return writer.finish()
