"""Headers of MRC files, checked before use.

References:
    Cheng et al. 2015, MRC2014: Extensions to the MRC format header.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

from cryo_disentangle.files.paths import readable

__all__ = ["HEADER_BYTES", "MrcHeader", "new_header", "read_mrc_header"]

HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
# Complex numbers, colours, packed halves of bytes, and what single programs have invented.
_REFUSED_MODES = {3, 4, 5, 7, 9, 10, 11, 13, 14, 15, 16, 17, 101}
_LITTLE_ENDIAN_STAMP = (0x44, 0x44, 0, 0)
_IMOD_STAMP = 1146047817
_IMOD_SIGNED = 1
_LONGEST_SIDE = 2**30

_Order = Literal["<", ">"]


class MrcHeader(NamedTuple):
    """Header fields that map the values of an MRC file.

    Attributes:
        path: The file.
        shape: (sections, rows, columns) = (nz, ny, nx).
        dtype: Type of the values, with byte order.
        offset: First byte of the values.
        pixel_size: Å per pixel along x, or None where the header has none.
        axes: Which of x, y, z (1, 2, 3) columns, rows and sections run along (MAPC, MAPR, MAPS).
        space_group: ISPG: 0 for images, from 1 for volumes, from 401 for stacks of volumes.
        depth: MZ, the sections of one volume: 1 for images where a writer keeps to MRC2014.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    pixel_size: float | None
    axes: tuple[int, int, int] = (1, 2, 3)
    space_group: int = 0
    depth: int = 1

    @property
    def is_cube(self) -> bool:
        """Whether there are as many sections as rows and columns, all of one volume."""
        sections, rows, columns = self.shape
        return 1 < sections == rows == columns == self.depth

    @property
    def is_volume(self) -> bool:
        """Whether it can be no stack of images: a volume by its space group and shape, or several.

        Many writers of image stacks leave the space group of volumes, so that alone says nothing.
        """
        return self.space_group > 400 or (self.space_group > 0 and self.is_cube)


def _plausible(header: np.void) -> bool:
    """Whether the header makes sense in the byte order it was read in."""
    sides = (int(header["nx"]), int(header["ny"]))
    known = int(header["mode"]) in _MODES.keys() | _REFUSED_MODES
    return (
        known
        and min(sides) > 0
        and max(*sides, int(header["nz"])) < _LONGEST_SIDE
        and int(header["nz"]) >= -1
        and int(header["nsymbt"]) >= 0
    )


def _decode(raw: bytes, path: Path) -> tuple[np.void, _Order]:
    """Reads the header in the byte order that makes sense; real files lack or misuse the stamp."""
    if not any(raw):
        raise ValueError(
            f"{path}: the header is all zeros, as a program leaves it that was stopped while "
            f"writing; write the file again"
        )
    orders: list[_Order] = [">", "<"] if raw[212] == 0x11 else ["<", ">"]
    for order in orders:
        header = np.frombuffer(raw, dtype=HEADER_DTYPE.newbyteorder(order))[0]
        if _plausible(header):
            return header, order
    header = np.frombuffer(raw, dtype=HEADER_DTYPE)[0]
    raise ValueError(
        f"{path}: not an MRC file: the header has mode {header['mode']} and size "
        f"{header['nx']} x {header['ny']} x {header['nz']} in either byte order"
    )


def read_mrc_header(path: str | Path) -> MrcHeader:
    """Reads and checks the header of an MRC file, little or big endian.

    Bytes (mode 0) are signed, as MRC2014 has them, but where IMOD's stamp says otherwise.

    Args:
        path: File with modes 0 (int8), 1 (int16), 2 (float32), 6 (uint16) or 12 (float16).

    Returns:
        The header.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an MRC file, its mode is not supported, or its size is another than
            the header announces.

    References:
        Cheng et al. 2015, MRC2014; IMOD's documentation of the MRC format, for its stamp and flags.
    """
    path = readable(path, "an MRC file")
    with path.open("rb") as file:
        raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES:
        raise ValueError(f"{path}: truncated: {len(raw)} bytes, an MRC header has {HEADER_BYTES}")
    header, order = _decode(raw, path)
    dtype = _value_type(header, raw, order, path)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    offset = HEADER_BYTES + int(header["nsymbt"])
    _check_size(path, shape, dtype.itemsize, offset)
    return MrcHeader(
        path,
        shape,
        dtype,
        offset,
        _pixel_size(header),
        _axes(header, path),
        int(header["ispg"]),
        int(header["mz"]),
    )


def _value_type(header: np.void, raw: bytes, order: _Order, path: Path) -> np.dtype[np.generic]:
    """Type of the values, with byte order."""
    mode = int(header["mode"])
    if mode not in _MODES:
        raise ValueError(f"{path}: MRC mode {mode} is not supported, expected 0, 1, 2, 6 or 12")
    if mode:
        return np.dtype(_MODES[mode]).newbyteorder(order)
    stamp, flags = np.frombuffer(raw, dtype=f"{order}i4", count=2, offset=152)
    if stamp == _IMOD_STAMP:
        return np.dtype("i1" if flags & _IMOD_SIGNED else "u1")
    if 127 < header["dmax"] <= 255 and header["dmin"] >= 0:
        raise ValueError(
            f"{path}: bytes (mode 0) are signed, -128 to 127, and the header announces values from "
            f"{header['dmin']:g} to {header['dmax']:g}; convert it to mode 2, or give it IMOD's "
            f"stamp if its bytes are not signed"
        )
    return np.dtype("i1")


def _check_size(path: Path, shape: tuple[int, int, int], itemsize: int, offset: int) -> None:
    """Refuses a file that holds fewer or more sections than its header announces."""
    sections, rows, columns = shape
    size, section = path.stat().st_size, rows * columns * itemsize
    needed = offset + sections * section
    if sections < 1:
        raise ValueError(
            f"{path}: the header announces no section (nz = {sections}), as a program leaves it "
            f"that was stopped while writing; there is room for {max(0, size - offset) // section} "
            f"sections of {rows} x {columns}: write the file again, or set nz"
        )
    if size < needed:
        raise ValueError(
            f"{path}: truncated: {size} bytes, the header announces {needed} "
            f"({sections} sections of {rows} x {columns})"
        )
    if size - needed >= section:
        raise ValueError(
            f"{path}: longer than its header: {size} bytes, the header announces {needed} "
            f"({sections} sections of {rows} x {columns}), so {(size - needed) // section} more "
            f"sections, or an extended header that it does not mention; write the file again, or "
            f"correct nz or nsymbt"
        )
    if size > needed:
        warnings.warn(
            f"{path}: {size - needed} bytes after the last section are not read", stacklevel=3
        )


def _pixel_size(header: np.void) -> float | None:
    """Å per pixel along x, None where the header has none."""
    cell, samples = float(header["cella"]["x"]), int(header["mx"])
    if not (cell > 0 and math.isfinite(cell) and samples > 0):
        return None
    # A/px is stored as the length of a cell, whose float32 digits end at about the sixth.
    return round(cell / samples, 6) or None


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
