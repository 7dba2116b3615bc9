"""Rows of one table found in another by what names the particles, never by count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["rows_by_key"]


def rows_by_key(
    ours: npt.NDArray[Any],
    theirs: npt.NDArray[Any],
    what: str,
    table: Path,
    particles: str = "particles",
) -> npt.NDArray[np.int64]:
    """Finds the row of each particle in a table.

    Args:
        ours: Key of each particle, shape (n,).
        theirs: Key of each row, shape (N,).
        what: What the keys are, for messages.
        table: File of the rows, for messages.
        particles: Whose particles they are, for messages.

    Returns:
        Rows, shape (n,).

    Raises:
        ValueError: If a key stands in two rows, or a particle in none.
    """
    order = np.argsort(theirs, kind="stable")
    ordered = theirs[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        raise ValueError(
            f"{table}: {what} {ordered[twice[0]]} stands in rows {order[twice[0]] + 1} and "
            f"{order[twice[0] + 1] + 1}, so that particles cannot be told apart"
        )
    places = np.searchsorted(ordered, ours).clip(max=len(ordered) - 1)
    missing = np.flatnonzero(ordered[places] != ours)
    if missing.size:
        first = ", ".join(str(name) for name in ours[missing[:3]])
        raise ValueError(
            f"{missing.size} of {len(ours)} {particles} are not in {table} by {what}, the first: "
            f"{first}"
        )
    rows: npt.NDArray[np.int64] = order[places]
    return rows
