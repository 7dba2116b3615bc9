"""MRC files: headers checked before use, stacks written image by image, volumes.

References:
    Cheng et al. 2015, MRC2014: Extensions to the MRC format header.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from mrcfile.dtypes import HEADER_DTYPE

from cryo_disentangle.particles._files import replacing, require_folder

__all__ = ["MrcHeader", "MrcsWriter", "read_mrc_header", "read_volume", "write_volume"]

_HEADER_BYTES = 1024
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
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    offset: int
    pixel_size: float | None


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
        raw = file.read(_HEADER_BYTES)
    if len(raw) < _HEADER_BYTES:
        raise ValueError(f"{path}: truncated: {len(raw)} bytes, an MRC header has {_HEADER_BYTES}")
    header, order = _decode(raw, path)
    mode = int(header["mode"])
    if mode not in _MODES:
        raise ValueError(f"{path}: MRC mode {mode} is not supported, expected 0, 1, 2, 6 or 12")
    dtype = np.dtype(_MODES[mode]).newbyteorder(order)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    offset = _HEADER_BYTES + int(header["nsymbt"])
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
    return MrcHeader(path, shape, dtype, offset, pixel_size)


def _new_header(shape: tuple[int, int, int], pixel_size_angstrom: float) -> npt.NDArray[Any]:
    """Fills the fields that stacks and volumes share."""
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


def _stack_header(n_images: int, box_size: int, pixel_size_angstrom: float) -> bytes:
    """Header of an image stack, whose statistics MRC2014 marks as not determined."""
    header = _new_header((n_images, box_size, box_size), pixel_size_angstrom)
    header["mz"], header["ispg"] = 1, 0
    header["cella"]["z"] = pixel_size_angstrom
    header["dmin"], header["dmax"], header["dmean"], header["rms"] = -1, -2, -3, -1
    return header.tobytes()


class MrcsWriter:
    """Writes a float32 image stack in chunks; the file appears under its name when complete.

    Images go to ``<path>.partial``. With ``resume`` that file outlives an exception or a killed
    process, and the next writer continues after the images in it:

        with MrcsWriter("particles.mrcs", 128, 1.3, resume=True) as writer:
            for images in chunks(start=writer.n_written):
                writer.write(images)

    Args:
        path: Stack to write.
        box_size: Side of the images in pixels.
        pixel_size_angstrom: Å per pixel.
        resume: Whether to continue an unfinished stack and leave one behind on an exception.

    Attributes:
        n_written: Images written so far.
    """

    def __init__(
        self, path: str | Path, box_size: int, pixel_size_angstrom: float, *, resume: bool = False
    ) -> None:
        self.path = Path(path)
        self.box_size = box_size
        self.pixel_size_angstrom = pixel_size_angstrom
        self.resume = resume
        self.n_written = 0
        self._partial = self.path.with_name(self.path.name + ".partial")
        self._file: IO[bytes] | None = None

    def __enter__(self) -> MrcsWriter:
        """Opens the temporary file."""
        require_folder(self.path)
        if self.resume and self._partial.exists():
            self._file = self._partial.open("r+b")
            stored = self._partial.stat().st_size - _HEADER_BYTES
            self.n_written = max(0, stored // (self.box_size**2 * 4))
        else:
            self._file = self._partial.open("w+b")
        self._file.seek(0)
        self._file.write(_stack_header(0, self.box_size, self.pixel_size_angstrom))
        # What a killed process left of an incomplete image is written over.
        self._file.seek(_HEADER_BYTES + self.n_written * self.box_size**2 * 4)
        self._file.truncate()
        return self

    def write(self, images: npt.ArrayLike) -> None:
        """Appends images.

        Args:
            images: Shape (B, D, D), cast to float32.

        Raises:
            ValueError: If the shape is another.
            RuntimeError: If the writer is not open (use it in a ``with`` block).
        """
        if self._file is None:
            raise RuntimeError(f"{self.path}: the writer is not open; use it in a with block")
        values = np.ascontiguousarray(images, dtype="<f4")
        if values.ndim != 3 or values.shape[1:] != (self.box_size, self.box_size):
            raise ValueError(
                f"{self.path}: images must have shape (B, {self.box_size}, {self.box_size}), "
                f"found {values.shape}"
            )
        self._file.write(values.data)
        self.n_written += len(values)

    def flush(self) -> None:
        """Hands what was written to the operating system, so that a killed process loses nothing.

        Raises:
            RuntimeError: If the writer is not open.
        """
        if self._file is None:
            raise RuntimeError(f"{self.path}: the writer is not open; use it in a with block")
        self._file.flush()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Completes the header and renames, or removes what was written."""
        file, self._file = self._file, None
        if file is None:
            return
        if kind is None:
            file.seek(0)
            file.write(_stack_header(self.n_written, self.box_size, self.pixel_size_angstrom))
            file.flush()
            os.fsync(file.fileno())
        file.close()
        if kind is None:
            os.replace(self._partial, self.path)
        elif not self.resume:
            self._partial.unlink()


def read_volume(path: str | Path) -> tuple[npt.NDArray[np.float32], float | None]:
    """Reads a volume.

    Args:
        path: MRC file.

    Returns:
        Values, shape (nz, ny, nx), and Å per pixel, None where the header has none.
    """
    header = read_mrc_header(path)
    values = np.fromfile(
        header.path, dtype=header.dtype, count=int(np.prod(header.shape)), offset=header.offset
    )
    return values.reshape(header.shape).astype(np.float32), header.pixel_size


def write_volume(path: str | Path, volume: npt.ArrayLike, pixel_size_angstrom: float) -> None:
    """Writes a volume: mode 2, origin 0, space group 1, with its statistics.

    Args:
        path: File to write.
        volume: Shape (nz, ny, nx).
        pixel_size_angstrom: Å per pixel.

    Raises:
        ValueError: If the volume does not have three axes.
    """
    values = np.ascontiguousarray(volume, dtype="<f4")
    if values.ndim != 3:
        raise ValueError(f"{path}: a volume has axes (z, y, x), found shape {values.shape}")
    sections, rows, columns = values.shape
    header = _new_header((sections, rows, columns), pixel_size_angstrom)
    header["mz"], header["ispg"] = sections, 1
    header["cella"]["z"] = pixel_size_angstrom * sections
    header["dmin"], header["dmax"] = values.min(), values.max()
    header["dmean"] = values.mean(dtype=np.float64)
    header["rms"] = values.std(dtype=np.float64)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        file.write(values.data)
