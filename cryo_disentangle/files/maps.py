"""Maps (volumes) as MRC files, read and written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.mrc import new_header, read_mrc_header
from cryo_disentangle.files.paths import replacing

__all__ = ["read_volume", "write_volume"]


def read_volume(path: str | Path) -> tuple[npt.NDArray[np.float32], float | None]:
    """Reads a map, whatever the order of its axes in the file.

    Args:
        path: MRC file (CCP4, .map).

    Returns:
        Values with axes z, y, x, shape (Z, Y, X), and Å per pixel along x, None where the header
        has none.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an MRC file, not supported, truncated, or its axes are damaged.

    References:
        Cheng et al. 2015, MRC2014, words 17 to 19 (MAPC, MAPR, MAPS).
    """
    header = read_mrc_header(path)
    values = np.fromfile(
        header.path, dtype=header.dtype, count=int(np.prod(header.shape)), offset=header.offset
    )
    # Sections, rows and columns run along these axes, of which z is wanted first.
    stored = header.axes[::-1]
    volume = values.reshape(header.shape).transpose([stored.index(axis) for axis in (3, 2, 1)])
    return np.ascontiguousarray(volume, dtype=np.float32), header.pixel_size


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
    header = new_header((sections, rows, columns), pixel_size_angstrom)
    header["mz"], header["ispg"] = sections, 1
    header["cella"]["z"] = pixel_size_angstrom * sections
    header["dmin"], header["dmax"] = values.min(), values.max()
    header["dmean"] = values.mean(dtype=np.float64)
    header["rms"] = values.std(dtype=np.float64)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(header.tobytes())
        file.write(values.data)
