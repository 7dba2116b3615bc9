"""Where the images of a table lie: which stack, and which image there."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.mrc import MrcHeader, read_mrc_header
from cryo_disentangle.particles.locating import Folders, Located, locate, refuse_collisions
from cryo_disentangle.particles.mapped import MappedImages

__all__ = ["Images", "Layout", "read_headers"]

# Headers wait for the file system, not for a core.
_THREADS = 16


@dataclass(frozen=True)
class Images:
    """Images by file and place there.

    Attributes:
        mapped: The stacks.
        names: What the particle file calls them.
        file: Which stack each image is in, shape (N,), int32.
        slot: Its 0-based section there, shape (N,), int32.
    """

    mapped: MappedImages
    names: list[str]
    file: npt.NDArray[np.int32]
    slot: npt.NDArray[np.int32]

    @property
    def pixel_size(self) -> npt.NDArray[np.float64] | None:
        """Å per pixel of each image by its stack's header, shape (N,); None where one has none."""
        sizes = [header.pixel_size for header in self.mapped.headers]
        known = [size for size in sizes if size is not None]
        return np.array(known)[self.file] if len(known) == len(sizes) else None


@dataclass
class Layout:
    """Collects file and slot of each image without an object per image.

    Args:
        table: The file that names them.
        folders: Where to look for the stacks.
        names: Numbers of the stacks by their names.
        first_row: Where each was mentioned first, from 1.
    """

    table: Path
    folders: Folders
    names: dict[str, int] = field(default_factory=dict)
    first_row: list[int] = field(default_factory=list)

    def file(self, name: str, row: int) -> int:
        """Numbers a stack, anew at its first mention.

        Args:
            name: As the table has it.
            row: Where, from 1.

        Returns:
            Its number, from 0.
        """
        number = self.names.setdefault(name, len(self.names))
        if number == len(self.first_row):
            self.first_row.append(row)
        return number

    def enumerate(self, names: Iterable[str]) -> npt.NDArray[np.int32]:
        """Numbers the stacks of all rows.

        Args:
            names: One a row.

        Returns:
            Shape (N,).
        """
        numbers = (self.file(name, row) for row, name in enumerate(names, start=1))
        return np.fromiter(numbers, dtype=np.int32)

    def headers(self) -> list[MrcHeader]:
        """Finds and checks every stack.

        Returns:
            Their headers.

        Raises:
            FileNotFoundError: If a stack is missing.
            ValueError: If one is damaged, or two names lead to one file.
        """
        named = [
            (name, f"{self.table}, row {row}")
            for name, row in zip(self.names, self.first_row, strict=True)
        ]
        return read_headers(named, self.folders)

    def images(
        self,
        headers: list[MrcHeader],
        file: npt.NDArray[np.int32],
        slot: npt.NDArray[np.integer],
    ) -> Images:
        """Maps the stacks and checks that every image is there.

        Args:
            headers: Of all stacks.
            file: Which of them, shape (N,).
            slot: 0-based section, shape (N,).

        Returns:
            The images.

        Raises:
            ValueError: If one is not there, or box sizes disagree.
        """
        counts = np.array([header.shape[0] for header in headers])[file]
        bad = np.flatnonzero((slot < 0) | (slot >= counts))
        if bad.size:
            row = bad[0]
            raise ValueError(
                f"{self.table}, row {row + 1}: image {slot[row] + 1} is out of range, "
                f"{headers[file[row]].path} has {counts[row]} images"
            )
        return Images(MappedImages(headers), list(self.names), file, slot.astype(np.int32))


def read_headers(named: list[tuple[str, str]], folders: Folders) -> list[MrcHeader]:
    """Finds and checks stacks.

    Args:
        named: Name and where it is mentioned, of each.
        folders: Where to look for them.

    Returns:
        Their headers; of several bad ones the first is reported.

    Raises:
        FileNotFoundError: If one is missing.
        ValueError: If one is damaged, or two names lead to one file.
    """

    def read(mention: tuple[str, str]) -> tuple[Located, MrcHeader]:
        found = locate(mention[0], folders, mention[1])
        return found, read_mrc_header(found.path)

    # All are checked now rather than in the middle of a training; on a network file system that is
    # mostly waiting.
    with ThreadPoolExecutor(_THREADS) as threads:
        found = list(threads.map(read, named))
    refuse_collisions([file for file, _ in found])
    return [header for _, header in found]
