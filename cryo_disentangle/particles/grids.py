"""Box and pixel sizes, which set the unit of other columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.bounds import BOX_SIZE, PIXEL_SIZE, check_bounds, check_whole
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.star import StarParticles

__all__ = ["Grid", "grid_of"]

Float64Array = npt.NDArray[np.float64]

_DETECTOR = ("_rlnDetectorPixelSize", "_rlnMagnification")


@dataclass(frozen=True)
class Grid:
    """Pixels that a table's numbers are in, for each of N particles.

    Attributes:
        box_size: Image side in pixels, shape (N,), or None where the table has none.
        pixel_size: Å per pixel at that box, shape (N,), or None.
    """

    box_size: Float64Array | None
    pixel_size: Float64Array | None

    def take(self, rows: npt.NDArray[np.integer]) -> Grid:
        """Selects particles.

        Args:
            rows: 0-based, shape (M,).

        Returns:
            Their grid.
        """
        box, pixel = self.box_size, self.pixel_size
        return Grid(None if box is None else box[rows], None if pixel is None else pixel[rows])


def grid_of(table: StarParticles | CryosparcParticles) -> Grid:
    """Reads the box and pixel sizes of a table.

    Args:
        table: Particles.

    Returns:
        Box sizes of ``_rlnImageSize`` or ``blob/shape``; pixel sizes of ``_rlnImagePixelSize``,
        else of RELION 3.0's detector pixel size in µm times 10,000 over the magnification, or of
        ``blob/psize_A``.

    Raises:
        ValueError: If one of them makes no sense.
    """
    if isinstance(table, CryosparcParticles):
        return Grid(_cryosparc_box_sizes(table), _cryosparc_pixel_sizes(table))
    box = None
    if "_rlnImageSize" in table:
        box = _checked_box(table.numbers("_rlnImageSize"), str(table.path), "_rlnImageSize")
    return Grid(box, _star_pixel_sizes(table))


def _checked_box(values: Float64Array, source: str, column: str) -> Float64Array:
    check_bounds(values, BOX_SIZE, source, column)
    check_whole(values, source, column)
    return values


def _star_pixel_sizes(table: StarParticles) -> Float64Array | None:
    """Å per pixel of RELION's columns."""
    source = str(table.path)
    if "_rlnImagePixelSize" in table:
        values = table.numbers("_rlnImagePixelSize")
        check_bounds(values, PIXEL_SIZE, source, "_rlnImagePixelSize")
        return values
    if not all(label in table for label in _DETECTOR):
        return None
    detector, magnification = table.columns(_DETECTOR).T
    for label, column in zip(_DETECTOR, (detector, magnification), strict=True):
        bad = np.flatnonzero(~(column > 0))
        if bad.size:
            raise ValueError(
                f"{source}, row {bad[0] + 1}: {label} is {column[bad[0]]:g}, expected a positive "
                "number"
            )
    values = detector * 1e4 / magnification
    check_bounds(values, PIXEL_SIZE, source, f"{_DETECTOR[0]} * 10,000 / {_DETECTOR[1]}")
    return values


def _cryosparc_box_sizes(table: CryosparcParticles) -> Float64Array | None:
    """Sides of ``blob/shape``, which must be square."""
    if "blob/shape" not in table:
        return None
    shape = table.numbers("blob/shape", 2)
    oblong = np.flatnonzero(shape[:, 0] != shape[:, 1])
    if oblong.size:
        row = oblong[0]
        raise ValueError(
            f"{table.path}, row {row + 1}: blob/shape is {shape[row, 0]:g} x {shape[row, 1]:g}, "
            "expected a square"
        )
    return _checked_box(shape[:, 0], str(table.path), "blob/shape")


def _cryosparc_pixel_sizes(table: CryosparcParticles) -> Float64Array | None:
    """Å per pixel of ``blob/psize_A``."""
    if "blob/psize_A" not in table:
        return None
    values = table.numbers("blob/psize_A")
    check_bounds(values, PIXEL_SIZE, str(table.path), "blob/psize_A")
    return values
