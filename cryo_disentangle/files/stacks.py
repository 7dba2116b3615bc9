"""Image stacks, written image by image."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.mrc import HEADER_BYTES, new_header
from cryo_disentangle.files.paths import require_folder

__all__ = ["MrcsWriter", "stack_header"]


def stack_header(n_images: int, box_size: int, pixel_size_angstrom: float) -> bytes:
    """Makes the header of an image stack, whose statistics MRC2014 marks as not determined.

    Args:
        n_images: Number of sections.
        box_size: Side of the images in pixels.
        pixel_size_angstrom: Å per pixel.

    Returns:
        Its 1024 bytes.
    """
    header = new_header((n_images, box_size, box_size), pixel_size_angstrom)
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
            stored = self._partial.stat().st_size - HEADER_BYTES
            self.n_written = max(0, stored // (self.box_size**2 * 4))
        else:
            self._file = self._partial.open("w+b")
        self._file.seek(0)
        self._file.write(stack_header(0, self.box_size, self.pixel_size_angstrom))
        # What a killed process left of an incomplete image is written over.
        self._file.seek(HEADER_BYTES + self.n_written * self.box_size**2 * 4)
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
        """Flushes to the operating system, so that a killed process loses nothing.

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
            file.write(stack_header(self.n_written, self.box_size, self.pixel_size_angstrom))
            file.flush()
            os.fsync(file.fileno())
        file.close()
        if kind is None:
            os.replace(self._partial, self.path)
        elif not self.resume:
            self._partial.unlink()
