"""The user's particle file: its rows are counted, matched and copied as they are."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.cs import CsTable
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.files.star import StarTable, read_star
from cryo_disentangle.files.star_rows import copy_star_rows

__all__ = ["CsParticleTable", "ParticleTable", "StarParticleTable", "open_particle_table"]

_IMAGE_NAME = "_rlnImageName"

BoolArray = npt.NDArray[np.bool_]
Array = npt.NDArray[Any]


class ParticleTable(abc.ABC):
    """A particle file with one row for each particle.

    Attributes:
        path: The file.
        suffix: Suffix of what `write` writes.
        uids: cryoSPARC's identifiers, shape (N,), or None.
        image_names: ``number@stack`` of each particle, shape (N,), or None.
        micrographs: Micrograph of each particle, shape (N,), or None.
    """

    suffix: str
    uids: Array | None = None
    image_names: Array | None = None
    micrographs: Array | None = None

    def __init__(self, path: Path) -> None:
        self.path = path

    @abc.abstractmethod
    def __len__(self) -> int:
        """Number of rows."""

    @abc.abstractmethod
    def write(self, path: Path, chosen: BoolArray) -> None:
        """Writes some of the rows, all their columns as they are and in their order.

        Args:
            path: File to write.
            chosen: Shape (N,).
        """


class StarParticleTable(ParticleTable):
    """The particle table of a STAR file, RELION 3.0 to 5.

    Args:
        path: The file.

    Raises:
        ValueError: If it has no table with ``_rlnImageName``, or more than one.
    """

    suffix = ".star"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        tables = [table for table in read_star(path).values() if _IMAGE_NAME in table]
        if len(tables) != 1:
            found = ", ".join(f"data_{table.name}" for table in tables) or "none"
            raise ValueError(f"{path}: expected one table with {_IMAGE_NAME}, found {found}")
        self.table: StarTable = tables[0]
        self.image_names = np.array(list(self.table.strings(_IMAGE_NAME)))
        if "_rlnMicrographName" in self.table:
            self.micrographs = np.array(list(self.table.strings("_rlnMicrographName")))

    def __len__(self) -> int:
        return len(self.table)

    def write(self, path: Path, chosen: BoolArray) -> None:
        """Writes some of the rows byte for byte; all other tables are kept whole.

        Args:
            path: File to write.
            chosen: Shape (N,).
        """
        copy_star_rows(self.table, path, chosen)


class CsParticleTable(ParticleTable):
    """The particle table of a ``.cs`` file.

    Args:
        path: The file.
    """

    suffix = ".cs"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.table = CsTable(path)
        if "uid" in self.table:
            self.uids = np.asarray(self.table["uid"])
        if "blob/path" in self.table and "blob/idx" in self.table:
            stacks = self.table["blob/path"].astype(str)
            numbers = self.table["blob/idx"].astype(np.int64) + 1
            self.image_names = np.char.add(np.char.add(numbers.astype(str), "@"), stacks)
        if "location/micrograph_path" in self.table:
            self.micrographs = self.table["location/micrograph_path"].astype(str)

    def __len__(self) -> int:
        return len(self.table)

    def write(self, path: Path, chosen: BoolArray) -> None:
        """Writes some of the rows, with all their fields.

        Args:
            path: File to write.
            chosen: Shape (N,).

        Raises:
            ValueError: If nothing is chosen.
        """
        if not chosen.any():
            raise ValueError(f"{path}: no particle is left, so nothing is written")
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.save(file, self.table.take(chosen))


def open_particle_table(path: str | Path) -> ParticleTable:
    """Opens the particle file that a selection is written against.

    Args:
        path: ``.star`` or ``.cs``.

    Returns:
        The table.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another kind of file, or damaged.
    """
    path = Path(path)
    match path.suffix.lower():
        case ".star":
            return StarParticleTable(path)
        case ".cs":
            return CsParticleTable(path)
    raise ValueError(f"{path}: expected a particle file .star or .cs, found {path.suffix or path}")
