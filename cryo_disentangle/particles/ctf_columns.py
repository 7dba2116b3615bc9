"""CTF parameters of RELION's and cryoSPARC's tables, in cryoDRGN's nine columns and beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import MissingColumnError
from cryo_disentangle.particles.bounds import B_FACTOR, SCALE_FACTOR, check_bounds
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.ctf import OVERRIDDEN, CtfOverrides, CtfTerms, check_ctf
from cryo_disentangle.particles.grids import Grid, grid_of
from cryo_disentangle.particles.star import StarParticles

__all__ = ["ctf_from_cryosparc", "ctf_from_star", "has_ctf", "table_ctf"]

Float64Array = npt.NDArray[np.float64]

_STAR_NAMES = (
    "_rlnImageSize",
    "_rlnImagePixelSize",
    "_rlnDefocusU",
    "_rlnDefocusV",
    "_rlnDefocusAngle",
    "_rlnVoltage",
    "_rlnSphericalAberration",
    "_rlnAmplitudeContrast",
    "_rlnPhaseShift",
)
_CRYOSPARC_NAMES = (
    "blob/shape",
    "blob/psize_A",
    "ctf/df1_A",
    "ctf/df2_A",
    "ctf/df_angle_rad",
    "ctf/accel_kv",
    "ctf/cs_mm",
    "ctf/amp_contrast",
    "ctf/phase_shift_rad",
)
_PREMULTIPLIED, _FLIPPED = "_rlnCtfDataAreCtfPremultiplied", "_rlnCtfDataArePhaseFlipped"


_NO_OVERRIDES = CtfOverrides()


def has_ctf(table: StarParticles | CryosparcParticles) -> bool:
    """Returns whether a table has CTF parameters.

    Args:
        table: Particles.

    Returns:
        Whether it has the first defocus.
    """
    return ("ctf/df1_A" if isinstance(table, CryosparcParticles) else "_rlnDefocusU") in table


def table_ctf(
    table: StarParticles | CryosparcParticles,
    overrides: CtfOverrides = _NO_OVERRIDES,
    grid: Grid | None = None,
) -> tuple[npt.NDArray[np.float32], CtfTerms]:
    """Reads CTF parameters of a table.

    Args:
        table: Particles.
        overrides: Values in place of columns.
        grid: Box and pixel sizes of the images; by default those of the table.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`, and what is known beside them.

    Raises:
        MissingColumnError: If a column is missing and not given.
        ValueError: If a value makes no sense.
    """
    grid = grid_of(table) if grid is None else grid
    # What is too large for single precision is out of bounds, and is refused by them.
    with np.errstate(over="ignore"):
        if isinstance(table, CryosparcParticles):
            return _cryosparc_rows(table, overrides, grid), CtfTerms()
        return _star_rows(table, overrides, grid), _star_terms(table)


def ctf_from_star(
    path: str | Path | StarParticles, overrides: CtfOverrides = _NO_OVERRIDES
) -> npt.NDArray[np.float32]:
    """Reads CTF parameters of a STAR file, RELION 3.0 to 5.

    Args:
        path: File, or the table read from it.
        overrides: Values in place of columns.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`; each particle's own optics group.

    Raises:
        MissingColumnError: If a column is missing and not given.
        ValueError: If a value makes no sense.
    """
    table = path if isinstance(path, StarParticles) else StarParticles(path)
    return table_ctf(table, overrides)[0]


def ctf_from_cryosparc(
    path: str | Path | CryosparcParticles, overrides: CtfOverrides = _NO_OVERRIDES
) -> npt.NDArray[np.float32]:
    """Reads CTF parameters of a ``.cs`` file.

    Args:
        path: File, or the table read from it.
        overrides: Values in place of fields.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`.

    Raises:
        MissingColumnError: If a field is missing and not given.
        ValueError: If a value makes no sense.
    """
    table = path if isinstance(path, CryosparcParticles) else CryosparcParticles(path)
    return table_ctf(table, overrides)[0]


def _star_rows(
    table: StarParticles, overrides: CtfOverrides, grid: Grid
) -> npt.NDArray[np.float32]:
    """The nine columns of RELION's labels."""

    def read(column: int) -> Float64Array:
        label = _STAR_NAMES[column]
        if label == "_rlnPhaseShift" and label not in table:
            return np.zeros(len(table))
        return table.numbers(label)

    ctf = _with_optics(table, grid, overrides, [partial(read, i) for i in (5, 6, 7, 8)])
    ctf[:, 2:5] = table.columns(_STAR_NAMES[2:5])
    return check_ctf(ctf, str(table.path), _STAR_NAMES)


def _cryosparc_rows(
    table: CryosparcParticles, overrides: CtfOverrides, grid: Grid
) -> npt.NDArray[np.float32]:
    """The nine columns of cryoSPARC's fields, whose angles are in radians."""

    def read(column: int) -> Float64Array:
        values = table.numbers(_CRYOSPARC_NAMES[column])
        return np.degrees(values) if column in (4, 8) else values

    ctf = _with_optics(table, grid, overrides, [partial(read, i) for i in (5, 6, 7, 8)])
    for column in (2, 3, 4):
        ctf[:, column] = read(column)
    return check_ctf(ctf, str(table.path), _CRYOSPARC_NAMES)


def _with_optics(
    table: StarParticles | CryosparcParticles,
    grid: Grid,
    overrides: CtfOverrides,
    readers: Sequence[Callable[[], Float64Array]],
) -> npt.NDArray[np.float32]:
    """CTF rows (N, 9) but for the defocus, from what takes the place of columns and the columns."""
    labels = _STAR_NAMES if isinstance(table, StarParticles) else _CRYOSPARC_NAMES

    def known(values: Float64Array | None, label: str) -> Float64Array:
        if values is None:
            raise MissingColumnError(f"{table.path}: no {label}")
        return values

    sizes: list[Callable[[], Float64Array]] = [
        partial(known, grid.box_size, labels[0]),
        partial(known, grid.pixel_size, labels[1]),
    ]
    # In the precision that is kept: in double, the temporaries would outweigh the result.
    ctf = np.empty((len(table), 9), dtype=np.float32)
    given = overrides.values().items()
    for column, (name, value), read in zip(OVERRIDDEN, given, [*sizes, *readers], strict=True):
        try:
            ctf[:, column] = read() if value is None else value
        except MissingColumnError as error:
            raise MissingColumnError(
                f"{error}; add it to the file, or give optics.{name} (--data.optics.{name})"
            ) from None
    return ctf


def _star_terms(table: StarParticles) -> CtfTerms:
    """Scale and B factors where they are not all one and zero, and corrections of the images."""
    source = str(table.path)
    scale = b_factor = applied = None
    if "_rlnCtfScalefactor" in table:
        values = table.numbers("_rlnCtfScalefactor")
        check_bounds(values, SCALE_FACTOR, source, "_rlnCtfScalefactor")
        scale = values.astype(np.float32) if (values != 1).any() else None
    if "_rlnCtfBfactor" in table:
        values = table.numbers("_rlnCtfBfactor")
        check_bounds(values, B_FACTOR, source, "_rlnCtfBfactor")
        b_factor = values.astype(np.float32) if values.any() else None
    flipped, multiplied = (_flags(table, label) for label in (_FLIPPED, _PREMULTIPLIED))
    if flipped is not None or multiplied is not None:
        applied = np.zeros(len(table), dtype=np.int64)
        applied[slice(0) if flipped is None else flipped] = 1
        applied[slice(0) if multiplied is None else multiplied] = 2
    return CtfTerms(scale, b_factor, applied if applied is not None and applied.any() else None)


def _flags(table: StarParticles, label: str) -> npt.NDArray[np.bool_] | None:
    """A column of zeros and ones."""
    if label not in table:
        return None
    values = table.numbers(label)
    bad = np.flatnonzero((values != 0) & (values != 1))
    if bad.size:
        raise ValueError(
            f"{table.path}, row {bad[0] + 1}: {label} is {values[bad[0]]:g}, expected 0 or 1"
        )
    return values == 1
