"""What numbers of particle files can be, whatever format they come in."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "ANGLE",
    "B_FACTOR",
    "BOX_SIZE",
    "CTF_BOUNDS",
    "PIXEL_SIZE",
    "SCALE_FACTOR",
    "Bounds",
    "check_bounds",
    "check_whole",
]


class Bounds(NamedTuple):
    """Range of a quantity, wide enough for any microscope.

    Attributes:
        low: Smallest value.
        high: Largest value.
        unit: In words.
    """

    low: float
    high: float
    unit: str


ANGLE = Bounds(-3600, 3600, "degrees")
BOX_SIZE = Bounds(2, 100_000, "pixels")
PIXEL_SIZE = Bounds(1e-2, 1e3, "Å per pixel")
SCALE_FACTOR = Bounds(1e-3, 1e3, "times")
B_FACTOR = Bounds(-100, 10_000, "Å²")

_DEFOCUS = Bounds(-1e6, 1e6, "Å")

CTF_BOUNDS = (
    BOX_SIZE,
    PIXEL_SIZE,
    _DEFOCUS,
    _DEFOCUS,
    ANGLE,
    Bounds(10, 3000, "kV"),
    Bounds(-100, 100, "mm"),
    Bounds(-1, 1, "as a share of the contrast"),
    ANGLE,
)
"""Of cryoDRGN's nine columns, as in `ParticleBatch`."""


def check_bounds(
    values: npt.NDArray[np.floating], bounds: Bounds, source: str, column: str
) -> None:
    """Refuses a column with a value that makes no sense.

    Args:
        values: Shape (N,).
        bounds: What it can be.
        source: File they come from, for the message.
        column: Column, field or quantity, for the message.

    Raises:
        ValueError: If one is out of bounds or not a number; names the first such row.
    """
    bad = np.flatnonzero(~((values >= bounds.low) & (values <= bounds.high)))
    if bad.size:
        raise ValueError(
            f"{source}, row {bad[0] + 1}: {column} is {values[bad[0]]:g}, expected "
            f"{bounds.low:g} to {bounds.high:g} {bounds.unit}"
        )


def check_whole(values: npt.NDArray[np.floating], source: str, column: str) -> None:
    """Refuses a column of counts with a fraction in it.

    Args:
        values: Shape (N,).
        source: File they come from, for the message.
        column: Column or field, for the message.

    Raises:
        ValueError: If one is not a whole number; names the first such row.
    """
    bad = np.flatnonzero(values != np.floor(values))
    if bad.size:
        raise ValueError(
            f"{source}, row {bad[0] + 1}: {column} is {values[bad[0]]:g}, expected a whole number"
        )
