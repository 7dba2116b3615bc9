"""Headers of MRC files, checked before use.

References:
    Cheng et al. 2015, MRC2014: Extensions to the MRC format header.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

__all__ = ["HEADER_BYTES", "MrcHeader", "new_header", "read_mrc_header"]

HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED_MODES = {3, 4, 101}
_LITTLE_ENDIAN_STAMP = (0x44, 0x44, 0, 0)


class MrcHeader(NamedTuple):
    """What is needed to map the values of an MRC file.

    Attributes:
        path: The file.
        shape: (sections, rows, columns) = (nz, ny, nx).
        dtype: Type of the values, with byte order.
        offset: First byte of the values.
        pixel_size: Å per pixel along x, or None where the header has none.
        axes: Which of x, y, z (1, 2, 3) columns, rows and sections run along (MAPC, MAPR, MAPS).
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    pixel_size: float | None
    axes: tuple[int, int, int] = (1, 2, 3)


def _plausible(header: np.void) -> bool:
    """Tells whether the header makes sense in the byte order it was read in."""
    sides = (int(header["nx"]), int(header["ny"]), int(header["nz"]))
    known = int(header["mode"]) in _MODES.keys() | _REFUSED_MODES
    return known and min(sides) > 0 and max(sides) < 2**30 and int(header["nsymbt"]) >= 0


def _decode(raw: bytes, path: Path) -> tuple[np.void, Literal["<", ">"]]:
    """Reads the header in the byte order that makes sense; real files lack or misuse the stamp."""
    orders: list[Literal["<", ">"]] = [">", "<"] if raw[212] == 0x11 else ["<", ">"]
    for order in orders:
        header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        if _plausible(header):
            return header, order
    header = np.frombuffer(raw, dtype=HEADER_DTYPE)[0]
    raise ValueError(
        f"{path}: not an MRC file: the header has mode {header['mode']} and size "
        f"{header['nx']} x {header['ny']} x {header['nz']} in either byte order"
    )


def _axes(header: np.void, path: Path) -> tuple[int, int, int]:
    """Reads which of x, y, z columns, rows and sections run along; old writers left zeros."""
    axes = (int(header["mapc"]), int(header["mapr"]), int(header["maps"]))
    if axes == (0, 0, 0):
        return 1, 2, 3
    if sorted(axes) != [1, 2, 3]:
        raise ValueError(
            f"{path}: the header's axes (MAPC, MAPR, MAPS) are {axes}, expected 1, 2 and 3 in any "
            f"order; the header is damaged"
        )
    return axes


def read_mrc_header(path: str | Path) -> MrcHeader:
    """Reads and checks the header of an MRC file, little or big endian.

    Args:
        path: File with modes 0 (int8), 1 (int16), 2 (float32), 6 (uint16) or 12 (float16).

    Returns:
        The header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an MRC file, its mode is not supported, or it is truncated.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise ValueError(f"{path}: truncated: {len(raw)} bytes, an MRC header has {HEADER_BYTES}")
    header, order = _decode(raw, path)
    mode = int(header["mode"])
    if mode not in _MODES:
        raise ValueError(f"{path}: MRC mode {mode} is not supported, expected 0, 1, 2, 6 or 12")
    dtype = np.dtype(_MODES[mode]).newbyteorder(order)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    offset = HEADER_BYTES + int(header["nsymbt"])
    needed = offset + shape[0] * shape[1] * shape[2] * dtype.itemsize
    size = path.stat().st_size
    if size < needed:
        raise ValueError(
            f"{path}: truncated: {size} bytes, the header announces {needed} "
            f"({shape[0]} sections of {shape[1]} x {shape[2]})"
        )
    cell, samples = float(header["cella"]["x"]), int(header["mx"])
    # A/px is stored as the length of a cell, whose float32 digits end at about the sixth.
    pixel_size = round(cell / samples, 6) if cell > 0 and samples > 0 else None
    return MrcHeader(path, shape, dtype, offset, pixel_size, _axes(header, path))


def new_header(shape: tuple[int, int, int], pixel_size_angstrom: float) -> npt.NDArray[Any]:
    """Fills the fields that stacks and volumes share.

    Args:
        shape: (sections, rows, columns).
        pixel_size_angstrom: Å per pixel.

    Returns:
        A header of mode 2, little endian, without what belongs to stacks or to volumes alone.
    """
    header = np.zeros((), dtype=HEADER_DTYPE)
    header["nz"], header["ny"], header["nx"] = shape
    header["mode"] = 2
    header["mx"], header["my"] = shape[2], shape[1]
    header["cella"]["x"], header["cella"]["y"] = (
        pixel_size_angstrom * shape[2],
        pixel_size_angstrom * shape[1],
    )
    for angle in ("alpha", "beta", "gamma"):
        header["cellb"][angle] = 90
    header["mapc"], header["mapr"], header["maps"] = 1, 2, 3
    header["nversion"] = 20140
    header["map"] = b"MAP "
    header["machst"] = _LITTLE_ENDIAN_STAMP
    return header
