"""NumPy's files, ``.npy`` and ``.npz``, read without running anybody's code."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import beginning, readable

__all__ = ["map_array", "read_archive"]

# First bytes of every .npy file.
_MAGIC = b"\x93NUMPY"
# A hundred classes of cryoSPARC's take about 40 kB; parsing needs some hundred times the header.
_LONGEST_HEADER = 2**20
_OTHERS = {
    b"\x95CSDAT": "a CSDAT stream of cryoSPARC, whose columns are compressed; save it as NumPy's "
    'with cryosparc-tools: Dataset.load("old.cs").save("new.cs")',
    b"PK\x03\x04": "an archive (.npz or .zip)",
    b"\x80": "a pickle, which is not opened",
}


def map_array(path: str | Path, what: str) -> npt.NDArray[Any]:
    """Maps an array: values are read when they are asked for.

    Args:
        path: File in NumPy's format ``.npy``, whatever its suffix.
        what: What is expected there, for the message.

    Returns:
        The array, read-only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is in another format, damaged, truncated, or holds Python objects.
    """
    path = readable(path, what)
    start = beginning(path)
    if not start.startswith(_MAGIC):
        found = next((name for magic, name in _OTHERS.items() if start.startswith(magic)), None)
        raise ValueError(f"{path}: not {what}: {found or f'it begins with {start[:8]!r}'}")
    dtype, shape, fortran, offset = _header(path, what)
    if dtype.hasobject:
        names = [name for name in dtype.names or () if dtype[name].hasobject]
        where = f"fields {', '.join(names[:3])} hold" if names else "it holds"
        raise ValueError(
            f"{path}: not {what}: {where} Python objects, which only a pickle could give back; "
            f"save them as numbers or text of a fixed length"
        )
    # In Python's integers, which do not overflow.
    needed = offset + dtype.itemsize * _product(shape)
    size = path.stat().st_size
    if size < needed:
        raise ValueError(
            f"{path}: truncated: {size} bytes, the header announces {needed} (shape {shape})"
        )
    if 0 in shape or not dtype.itemsize:
        return np.empty(shape, dtype=dtype)
    order: Any = "F" if fortran else "C"
    return np.memmap(path, dtype=dtype, mode="r", offset=offset, shape=shape, order=order)


def _product(shape: tuple[int, ...]) -> int:
    """Number of elements."""
    count = 1
    for side in shape:
        count *= side
    return count


def _header(path: Path, what: str) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type, shape, order (Fortran's or not) and first byte of the values."""
    with path.open("rb") as file:
        head = file.read(12)
        long = head[6:7] >= b"\x02"
        length = int.from_bytes(head[8 : 12 if long else 10], "little")
        if len(head) == 12 and length > _LONGEST_HEADER:
            raise ValueError(
                f"{path}: not {what}: its header has {length} bytes, expected at most "
                f"{_LONGEST_HEADER}"
            )
        file.seek(0)
        try:
            version = np.lib.format.read_magic(file)
            # Version 3 differs from 2 in the letters that names of fields may have.
            read = (
                np.lib.format.read_array_header_1_0
                if version[0] == 1
                else np.lib.format.read_array_header_2_0
            )
            shape, fortran, dtype = read(file, max_header_size=_LONGEST_HEADER)
        # A damaged header can raise nearly any exception.
        except Exception as error:
            raise ValueError(f"{path}: not {what}: its header is damaged or truncated") from error
        return dtype, shape, fortran, file.tell()


def read_archive(
    path: str | Path, names: Collection[str], what: str
) -> dict[str, npt.NDArray[Any]]:
    """Reads some arrays of an archive.

    Args:
        path: NumPy archive (``.npz``).
        names: Arrays that are wanted; those that the archive lacks are left out.
        what: What is expected there, for the message: "labels".

    Returns:
        Arrays by name, in the order of the archive.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no archive, damaged, one of the arrays holds Python objects, or none of
            the names is in it.
    """
    path = readable(path, f"{what} (.npz)")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: {what} must be an .npz archive, and the file is none")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            present = list(archive.files)
            arrays = {name: _member(archive, name, path, what) for name in present if name in names}
    except (EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path}: {what} cannot be read: {error}") from error
    if not arrays:
        expected = ", ".join(names)
        one = "an array named" if len(names) == 1 else "one or more of"
        raise ValueError(f"{path}: {one} {expected} expected, found {sorted(present)}")
    return arrays


def _member(archive: np.lib.npyio.NpzFile, name: str, path: Path, what: str) -> npt.NDArray[Any]:
    """Reads one array; NumPy's own message of Python objects recommends to unpickle them."""
    try:
        return archive[name]
    except ValueError as error:
        reason = (
            "it holds Python objects, expected numbers"
            if "bject arrays" in str(error)
            else "it is damaged"
        )
        raise ValueError(f"{path}: {what} cannot be read: {name}: {reason}") from error
