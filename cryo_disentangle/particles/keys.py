"""Rows of one table found in another by what names the particles, never by count."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.locating import plain_name, without_uid
from cryo_disentangle.particles.star_images import parse_image_name

__all__ = ["ImageNames", "image_keys", "numbered", "refuse_repeats", "rows_by_key"]

Rows = npt.NDArray[np.int64]
# Larger than any slot of a stack, so that file and slot make one number.
_SLOTS = 2**31


class ImageNames(NamedTuple):
    """Images of particles.

    Attributes:
        path: File that names them.
        files: Names of stacks.
        file: Which of them each image is in, shape (N,).
        slot: Its 0-based place there, shape (N,).
    """

    path: Path
    files: list[str]
    file: Rows
    slot: Rows

    @classmethod
    def of(cls, texts: Iterable[str], path: Path) -> ImageNames:
        """Reads names such as ``000017@stack.mrcs``.

        Args:
            texts: A name for each particle.
            path: File that has them.

        Returns:
            The images.

        Raises:
            ValueError: If a text is no such name.
        """
        parsed = [parse_image_name(text, path, row) for row, text in enumerate(texts, start=1)]
        files, file = numbered(name for _, name in parsed)
        slots = np.array([max(number, 1) - 1 for number, _ in parsed], dtype=np.int64)
        return cls(path, files, file, slots)

    def text(self, row: int) -> str:
        """Names an image.

        Args:
            row: Its row, from 0.

        Returns:
            For example ``17@stack.mrcs``.
        """
        return f"{self.slot[row] + 1}@{self.files[self.file[row]]}"


def numbered(names: Iterable[str]) -> tuple[list[str], Rows]:
    """Numbers the different ones of some names.

    Args:
        names: Of N rows.

    Returns:
        The different names, and which of them each row has, shape (N,).
    """
    numbers: dict[str, int] = {}
    file = [numbers.setdefault(name, len(numbers)) for name in names]
    return list(numbers), np.array(file, dtype=np.int64)


def image_keys(ours: ImageNames, theirs: ImageNames) -> tuple[Rows, Rows]:
    """Makes numbers of images that are equal where names are.

    Whole names are compared where all stacks of one side are among the other's, else the last
    parts, without cryoSPARC's numbers and suffixes; these must tell stacks apart.

    Args:
        ours: Names of n images.
        theirs: Names of N images.

    Returns:
        Shapes (n,) and (N,).

    Raises:
        ValueError: If stacks of one side differ by their folders alone, and these do not agree.
    """
    spell: Callable[[str], str] = plain_name
    mine, others = ({spell(name) for name in side.files} for side in (ours, theirs))
    if not (mine <= others or others <= mine):
        spell = _last_part
        for side in (ours, theirs):
            _refuse_namesakes(side)
    numbers: dict[str, int] = {}

    def keys(side: ImageNames) -> Rows:
        of_file = [numbers.setdefault(spell(name), len(numbers)) for name in side.files]
        return np.array(of_file, dtype=np.int64)[side.file] * _SLOTS + side.slot

    return keys(ours), keys(theirs)


def _last_part(name: str) -> str:
    """File's name alone, without cryoSPARC's number and without suffix."""
    return posixpath.splitext(without_uid(posixpath.basename(plain_name(name))))[0]


def _refuse_namesakes(side: ImageNames) -> None:
    """Refuses stacks that differ by their folders alone."""
    first: dict[str, str] = {}
    for name in side.files:
        other = first.setdefault(_last_part(name), name)
        if plain_name(other) != plain_name(name):
            raise ValueError(
                f"{side.path}: {other} and {name} have the same last part, so that images cannot "
                "be matched by it; give tables whose image names agree"
            )


def rows_by_key(
    ours: npt.NDArray[Any],
    theirs: npt.NDArray[Any],
    what: str,
    table: Path,
    particles: str = "particles",
    shown: Callable[[int], str] | None = None,
) -> Rows:
    """Finds the row of each particle in a table.

    Args:
        ours: Key of each particle, shape (n,).
        theirs: Key of each row, shape (N,).
        what: What the keys are, for messages.
        table: File of the rows, for messages.
        particles: Whose particles they are, for messages.
        shown: Names the particle of a row of ours, for messages; None names its key.

    Returns:
        Rows, shape (n,).

    Raises:
        ValueError: If a key stands in two rows, or a particle in none.
    """
    refuse_repeats(theirs, what, table)
    if not len(theirs):
        raise ValueError(f"{table}: no rows, so that none of {len(ours)} {particles} is in it")
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    places = np.searchsorted(ordered, ours).clip(max=len(ordered) - 1)
    missing = np.flatnonzero(ordered[places] != ours)
    if missing.size:
        first = ", ".join(str(ours[row]) if shown is None else shown(row) for row in missing[:3])
        raise ValueError(
            f"{missing.size} of {len(ours)} {particles} are not in {table} by {what}, the first: "
            f"{first} (row {missing[0] + 1})"
        )
    rows: Rows = order[places]
    return rows


def refuse_repeats(keys: npt.NDArray[Any], what: str, table: Path) -> None:
    """Refuses a key that names two particles.

    Args:
        keys: Shape (N,).
        what: What they are, for the message.
        table: File of the rows, for the message.

    Raises:
        ValueError: If one stands in two rows.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        first, second = (int(order[twice[0] + k]) + 1 for k in (0, 1))
        raise ValueError(
            f"{table}: rows {first} and {second} have the same {what}, so that particles cannot be "
            "told apart"
        )
