"""Some rows of a STAR file, byte for byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.files.star import StarTable
from cryo_disentangle.files.star_pieces import values_of
from cryo_disentangle.files.text import open_text

__all__ = ["copy_star_rows"]


def copy_star_rows(table: StarTable, path: str | Path, chosen: npt.NDArray[np.bool_]) -> None:
    """Copies a STAR file with some of the rows of one table.

    Everything else, comments and other tables included, is copied as it is.

    Args:
        table: The table, of the file to copy.
        path: File to write.
        chosen: Which of its N rows are kept, shape (N,).

    Raises:
        ValueError: If ``chosen`` has another shape or keeps nothing, or the table has not one line
            for each row, or is no plain UTF-8.
    """
    if chosen.shape != (len(table),):
        raise ValueError(
            f"{table.path}: {len(table)} rows in data_{table.name}, but a choice of {chosen.shape}"
        )
    if not chosen.any():
        raise ValueError(f"{path}: no particle is left, so nothing is written")
    with (
        table.path.open("rb") as source,
        replacing(path) as temporary,
        temporary.open("wb") as target,
    ):
        if open_text(source) is not source:
            raise ValueError(
                f"{table.path}: rows are copied byte for byte, which a byte order mark, UTF-16 or "
                f"lines that end with carriage returns do not allow; convert it to UTF-8 first"
            )
        head = source.read(table.first_value)
        head = head[: head.rfind(b"\n") + 1]
        target.write(head)
        source.seek(len(head))
        target.writelines(_kept_lines(source, table, chosen))
        shutil.copyfileobj(source, target)


def _kept_lines(
    source: IO[bytes], table: StarTable, chosen: npt.NDArray[np.bool_]
) -> Iterator[bytes]:
    """Lines of the chosen rows, and all that are no rows."""
    row, width = 0, len(table.labels)
    while row < len(chosen):
        line = source.readline()
        if not line:
            raise ValueError(f"{table.path}: has changed while it was read")
        count = len(values_of(line))
        if count == 0:
            yield line
            continue
        if count != width:
            raise ValueError(
                f"{table.path}: row {row + 1} of data_{table.name} has {count} values on its line, "
                f"expected {width}"
            )
        if chosen[row]:
            yield line
        row += 1
