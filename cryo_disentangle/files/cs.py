"""cryoSPARC's tables: ``.cs`` files, which are numpy structured arrays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.arrays import map_array
from cryo_disentangle.files.paths import MissingColumnError

__all__ = ["CsTable"]

# Rows at a time: a few megabytes.
_ROWS_PER_CHUNK = 10_000


class CsTable:
    """The table of a ``.cs`` file, which is mapped: values are read when they are asked for.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a structured array of plain types.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        # Mapped, so that columns nobody asks for cost no memory.
        table = map_array(path, "a .cs file")
        if table.dtype.names is None or table.ndim != 1:
            found = f"dtype {table.dtype}" if table.dtype.names is None else f"shape {table.shape}"
            raise ValueError(
                f"{path}: a .cs file holds a one-dimensional structured array, found {found}"
            )
        if len(table) == 0:
            raise ValueError(f"{path}: no rows")
        self._table: npt.NDArray[Any] = table

    def __len__(self) -> int:
        """Number of particles."""
        return len(self._table)

    def __contains__(self, field: object) -> bool:
        """Whether there is a field of that name."""
        return field in self.fields

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of all fields."""
        return self._table.dtype.names or ()

    def __getitem__(self, field: str) -> npt.NDArray[Any]:
        """Values of a field as they are stored, mapped.

        Args:
            field: For example ``uid``.

        Returns:
            Shape (N, ...).

        Raises:
            MissingColumnError: If there is no such field.
        """
        return self._field(field)

    def take(self, chosen: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
        """Reads whole rows.

        Args:
            chosen: Which of them, shape (N,).

        Returns:
            Rows with all fields, as they are stored.
        """
        return np.asarray(self._table[chosen])

    def numbers(self, field: str, *shape: int) -> npt.NDArray[np.float64]:
        """Reads numbers of each particle.

        Args:
            field: For example ``ctf/df1_A``.
            *shape: Shape of a particle's value; none for a single number.

        Returns:
            Shape (N, *shape).

        Raises:
            MissingColumnError: If there is no such field.
            ValueError: If its type is another, or a value is not finite.
        """
        values = self._field(field)
        if values.dtype.kind not in "fiu" or values.shape[1:] != shape:
            raise ValueError(
                f"{self.path}: field {field} must hold numbers of shape {shape}, found "
                f"{values.dtype} of shape {values.shape[1:]}"
            )
        bad = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))
        if bad.size:
            raise ValueError(f"{self.path}, row {bad[0] + 1}: {field} is not finite")
        return values.astype(np.float64)

    def strings(self, field: str) -> Iterator[str]:
        """Reads texts.

        Args:
            field: For example ``blob/path``.

        Returns:
            One text a row.

        Raises:
            MissingColumnError: If there is no such field.
            ValueError: If it holds no text.
        """
        values = self._field(field)
        if values.dtype.kind not in "SU" or values.ndim != 1:
            raise ValueError(f"{self.path}: field {field} must hold text, found {values.dtype}")
        return (
            value if isinstance(value, str) else value.decode(errors="surrogateescape")
            for start in range(0, len(values), _ROWS_PER_CHUNK)
            for value in values[start : start + _ROWS_PER_CHUNK].tolist()
        )

    def _field(self, field: str) -> npt.NDArray[Any]:
        """The raw field, or a complaint that names it."""
        if field not in self:
            raise MissingColumnError(f"{self.path}: no field {field}")
        values: npt.NDArray[Any] = self._table[field]
        return values
