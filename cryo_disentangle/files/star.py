"""Tables of STAR files, read and written.

References:
    Hall 1991, The STAR file; RELION's conventions: relion.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gemmi import cif

from cryo_disentangle.files.paths import MissingColumnError, readable, replacing
from cryo_disentangle.files.star_syntax import Block, Loop, StarSyntaxError, read_rows, scan

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
        for (values,) in read_rows(self.path, loop, [column]):
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
        row = 0
        for columns in read_rows(self.path, loop, [column for _, column in places]):
            end = row + len(columns[0])
            for i, values in enumerate(columns):
                table[row:end, i] = _numbers(values)
            bad = np.argwhere(~np.isfinite(table[row:end]))
            if bad.size:
                at, i = bad[0]
                raise ValueError(
                    f"{self.path}, row {row + at + 1} of data_{self.name}: {labels[i]} is "
                    f"{columns[i][at].decode(errors='replace')!r}, expected a number"
                )
            row = end
        return table

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


def read_star(path: str | Path) -> dict[str, StarTable]:
    """Reads all tables of a STAR file.

    Args:
        path: The file.

    Returns:
        Tables with at least one row by the name of their block (``data_optics`` is ``optics``).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the syntax is broken, a block name is repeated, or there is no table.
    """
    path = readable(path, "a STAR file")
    try:
        blocks = scan(path)
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
    with path.open("rb") as file:
        return 1 + sum(
            file.read(min(_BYTES_PER_CHUNK, position - start)).count(b"\n")
            for start in range(0, position, _BYTES_PER_CHUNK)
        )


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
