"""Tables of STAR files, read and written.

References:
    Hall 1991, The STAR file; RELION's conventions: relion.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gemmi import cif

from cryo_disentangle.files.paths import MissingColumnError, readable, replacing
from cryo_disentangle.files.star_syntax import Block, Loop, StarSyntaxError, read_rows, scan
from cryo_disentangle.files.text import open_text

__all__ = ["Column", "StarTable", "read_star", "write_star"]

_ROWS_PER_CHUNK = 10_000
_BYTES_PER_CHUNK = 2**20

Column = Sequence[object] | npt.NDArray[np.generic]


class StarTable:
    """One table of a STAR file; values are read from the file when they are asked for.

    Args:
        block: Where its values lie.
        path: File it comes from.
    """

    def __init__(self, block: Block, path: Path) -> None:
        self.name = block.name
        self.path = path
        self._place = {
            label: (loop, column)
            for loop in block.loops
            for column, label in enumerate(loop.labels)
        }
        self.labels: list[str] = list(self._place)

    def __len__(self) -> int:
        """Number of rows."""
        return self._place[self.labels[0]][0].n_rows if self.labels else 0

    def __contains__(self, label: object) -> bool:
        """Whether there is a column of that label."""
        return label in self._place

    @property
    def first_value(self) -> int:
        """Byte at which the first row begins.

        Raises:
            ValueError: If the columns are not those of one loop.
        """
        loops = {id(loop): loop for loop, _ in self._place.values()}
        if len(loops) != 1:
            raise ValueError(f"{self.path}: data_{self.name} is not one loop, found {len(loops)}")
        return next(iter(loops.values())).start

    def strings(self, label: str) -> Iterator[str]:
        """Yields the values of a column, unquoted.

        Args:
            label: For example ``_rlnImageName``.

        Yields:
            One text a row.

        Raises:
            MissingColumnError: If there is no such column.
        """
        loop, column = self._find(label)
        kept = loop.kept.pop(label, None)
        texts = kept.texts() if kept else None
        pieces = (
            (values for (values,) in read_rows(self.path, loop, [column]))
            if texts is None
            else (piece.split(b"\n") for piece in texts)
        )
        for values in pieces:
            for value in values:
                text = value.decode(errors="surrogateescape")
                yield cif.as_string(text) if text[0] in "'\";" else text

    def numbers(self, label: str) -> npt.NDArray[np.float64]:
        """Reads a column of numbers.

        Args:
            label: For example ``_rlnDefocusU``.

        Returns:
            Shape (N,).

        Raises:
            MissingColumnError: If there is no such column.
            ValueError: If a value is not a finite number.
        """
        return self.columns([label])[:, 0]

    def columns(self, labels: Sequence[str]) -> npt.NDArray[np.float64]:
        """Reads columns of numbers of one loop, going through the file once.

        Args:
            labels: For example ``_rlnDefocusU``, ``_rlnDefocusV``; at least one.

        Returns:
            Shape (N, len(labels)).

        Raises:
            MissingColumnError: If there is no such column.
            ValueError: If a value is not a finite number, or the columns differ in length.
        """
        places = [self._find(label) for label in labels]
        loop = places[0][0]
        if any(other is not loop for other, _ in places):
            return np.column_stack([self.numbers(label) for label in labels])
        table = np.empty((loop.n_rows, len(labels)))
        left = []
        for i, label in enumerate(labels):
            kept = loop.kept.pop(label, None)
            values = kept.numbers() if kept else None
            if values is None:
                left.append(i)
            else:
                table[:, i] = values
        if left:
            self._fill(table, left, loop, [places[i][1] for i in left])
        for i, label in enumerate(labels):
            self._check_finite(table[:, i], label)
        return table

    def _fill(
        self,
        table: npt.NDArray[np.float64],
        places: list[int],
        loop: Loop,
        columns: list[int],
    ) -> None:
        """Reads columns from the file into some of a table's."""
        row = 0
        for chunk in read_rows(self.path, loop, columns):
            end = row + len(chunk[0])
            for i, values in zip(places, chunk, strict=True):
                table[row:end, i] = _numbers(values)
            row = end

    def _check_finite(self, values: npt.NDArray[np.float64], label: str) -> None:
        """Refuses a column that has anything but finite numbers."""
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            text = next(islice(self.strings(label), int(bad[0]), None))
            raise ValueError(
                f"{self.path}, row {bad[0] + 1} of data_{self.name}: {label} is {text[:80]!r}, "
                f"expected a number"
            )

    def _find(self, label: str) -> tuple[Loop, int]:
        """Place of a column, or a complaint that names table and file."""
        if label not in self._place:
            raise MissingColumnError(f"{self.path}: no column {label} in table data_{self.name}")
        return self._place[label]


def _numbers(values: list[bytes]) -> npt.NDArray[np.float64]:
    """Reads numbers; NaN where there is none."""
    try:
        return np.fromiter(map(float, values), np.float64, count=len(values))
    except ValueError:
        return np.fromiter(map(_number, values), np.float64, count=len(values))


def _number(text: bytes) -> float:
    """Reads a number; NaN where there is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def read_star(path: str | Path, kept: Collection[str] = ()) -> dict[str, StarTable]:
    """Reads all tables of a STAR file, going through it once.

    Args:
        path: The file, in UTF-8 or UTF-16.
        kept: Labels that will be asked for: their values are kept, each for the first reading of
            its column. Others, and later readings, go through the file again.

    Returns:
        Tables with at least one row by the name of their block (``data_optics`` is ``optics``).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the syntax is broken, a block name is repeated, or there is no table.
    """
    path = readable(path, "a STAR file")
    try:
        blocks = scan(path, kept)
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a readable STAR file: damaged {error.encoding}") from error
    except StarSyntaxError as error:
        line = _line(path, error.position)
        raise ValueError(f"{path}: not a readable STAR file: line {line}: {error}") from error
    tables = [StarTable(block, path) for block in blocks]
    filled = {table.name: table for table in tables if len(table)}
    if not filled:
        raise ValueError(f"{path}: no table with rows")
    return filled


def _line(path: Path, position: int) -> int:
    """Number of the line, from 1, that a byte is in."""
    line, left = 1, position
    with path.open("rb") as raw:
        file = open_text(raw)
        while left > 0 and (text := file.read(_BYTES_PER_CHUNK)):
            line += text[:left].count(b"\n")
            left -= len(text)
    return line


def _texts(values: Column) -> list[str]:
    """Shortest text that reads back as the same value; quoted where STAR needs it."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiu":
        return [str(value) for value in (values if values.dtype.itemsize < 8 else values.tolist())]
    texts = [str(value) for value in values]
    broken = next((text for text in texts if "\n" in text or ("'" in text and '"' in text)), None)
    if broken is not None:
        raise ValueError(f"a STAR value can hold neither line breaks nor both quotes: {broken!r}")
    return [cif.quote(text) for text in texts]


def write_star(path: str | Path, tables: Mapping[str, Mapping[str, Column]]) -> None:
    """Writes tables in the form of RELION 3.1.

    Args:
        path: File to write.
        tables: Columns by label (``_rlnImageName``) by name of the block (``optics``).

    Raises:
        ValueError: If columns of a table differ in length, or a text cannot be written.
    """
    for name, columns in tables.items():
        lengths = {label: len(values) for label, values in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"{path}: columns of data_{name} differ in length: {lengths}")
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for name, columns in tables.items():
            file.write(f"\n# version 30001\n\ndata_{name}\n\nloop_\n")
            file.writelines(f"{label} #{i}\n" for i, label in enumerate(columns, start=1))
            n_rows = len(next(iter(columns.values()), ()))
            for start in range(0, n_rows, _ROWS_PER_CHUNK):
                chunk = [_texts(v[start : start + _ROWS_PER_CHUNK]) for v in columns.values()]
                file.writelines(" ".join(row) + "\n" for row in zip(*chunk, strict=True))
            file.write("\n")
