"""Data files that a table names, found where people keep them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

__all__ = ["Folders", "Located", "locate", "plain_name", "refuse_collisions", "without_uid"]

_FORMAT = re.compile(r":(mrcs?|map)$", re.IGNORECASE)
_UID = re.compile(r"^\d{15,21}_")


@dataclass(frozen=True)
class Folders:
    """Where data files are looked for.

    Attributes:
        first: ``datadir``, or the table's folder.
        parents: Folders above the table's, nearest first, for names that count from the folder of
            the project; none where ``datadir`` is given.
    """

    first: Path
    parents: tuple[Path, ...] = ()

    @classmethod
    def of(cls, table: Path, datadir: Path | None) -> Folders:
        """Chooses the folders for a table.

        Args:
            table: The file.
            datadir: Folder that is given, or None.

        Returns:
            The folders.
        """
        if datadir is not None:
            return cls(datadir)
        return cls(table.parent, tuple(table.absolute().parent.parents))

    @property
    def given(self) -> bool:
        """Whether the folder is ``datadir``: a table lies in other folders at least."""
        return not self.parents

    def __iter__(self) -> Iterator[Path]:
        """Yields the folders from near to far."""
        return iter((self.first, *self.parents))


class Located(NamedTuple):
    """A file that a table names.

    Attributes:
        name: As the table has it.
        path: Where it is.
        mentioned: Table and row.
        shortened: Whether it was found by the last part of its name alone.
    """

    name: str
    path: Path
    mentioned: str
    shortened: bool


def plain_name(name: str) -> str:
    """Takes away what programs add to a file's name.

    Args:
        name: As a table has it.

    Returns:
        The name without RELION's and Xmipp's suffix of the format (``:mrcs``), redundant dots and
        slashes.
    """
    return posixpath.normpath(_FORMAT.sub("", name))


def without_uid(name: str) -> str:
    """Takes the number away that cryoSPARC puts before the names of imported files.

    Args:
        name: Last part of a path.

    Returns:
        The name.
    """
    return _UID.sub("", name)


def locate(name: str, folders: Folders, mentioned: str) -> Located:
    """Finds a data file named by a table.

    Args:
        name: Path as the table has it.
        folders: Where to look if it is not found as it is.
        mentioned: Table and row, for the message.

    Returns:
        The file: below ``datadir`` if that is given, else ``name`` itself if it exists, else in the
        table's folder, else in a parent, else its last part in the first folder, there also without
        cryoSPARC's number before it.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If without ``datadir`` a name leads to one file from the working directory and
            to another one from the table's folder or a parent.
    """
    for candidate, shortened in _candidates(name, folders):
        if candidate.is_file():
            # By its whole name, no file was found beside the table then.
            other = None if shortened else _beside_table(name, folders)
            if other is not None and not other.samefile(candidate):
                raise ValueError(
                    f"{mentioned} names {name}, which is {candidate.absolute()} from the working "
                    f"directory and {other} from the table: give the folder that these names count "
                    "from (datadir)"
                )
            return Located(name, candidate, mentioned, shortened)
    raise FileNotFoundError(
        f"{mentioned} names {name}, found neither as it is nor in {folders.first} (datadir), "
        f"with or without its folders"
    )


def _candidates(name: str, folders: Folders) -> Iterator[tuple[Path, bool]]:
    """Where a file may be, likeliest first, and whether folders of its name are left out."""
    plain = _FORMAT.sub("", name)
    for spelled in _spellings(name):
        here = (Path(spelled), False)
        below = [(folder / spelled, False) for folder in folders]
        yield from [*below, here] if folders.given else [here, *below]
    imported = Path(plain.replace("\\", "/"))
    if _UID.match(imported.name):
        for folder in folders:
            yield folder / imported.with_name(without_uid(imported.name)), True
    last = imported.name
    for spelled in dict.fromkeys((Path(name).name, last, without_uid(last))):
        yield folders.first / spelled, True


def _spellings(name: str) -> dict[str, None]:
    """A name, also without its format, and with the slashes of this system between folders."""
    plain = _FORMAT.sub("", name)
    return dict.fromkeys((name, plain, plain.replace("\\", "/")))


def _beside_table(name: str, folders: Folders) -> Path | None:
    """The file that a name leads to from the table; None of names that need no folder."""
    if folders.given:
        return None
    candidates = (folder / spelled for spelled in _spellings(name) for folder in folders)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def refuse_collisions(found: list[Located]) -> None:
    """Refuses tables of which two names lead to one file because their folders were left out.

    Args:
        found: Files of all names of a table.

    Raises:
        ValueError: If there are two; names both.
    """
    first: dict[Path, Located] = {}
    for file in found:
        other = first.setdefault(file.path, file)
        if plain_name(other.name) != plain_name(file.name) and (file.shortened or other.shortened):
            raise ValueError(
                f"{other.mentioned} names {other.name} and {file.mentioned} names {file.name}, and "
                f"both lead to {file.path}: give the folder that these names count from (datadir)"
            )
