"""cryoDRGN's pickles: poses, CTF, indices and latents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.arrays import map_array
from cryo_disentangle.files.paths import readable
from cryo_disentangle.files.pickles import load_pickles, write_pickles
from cryo_disentangle.files.text import read_text
from cryo_disentangle.particles.ctf import check_ctf

__all__ = [
    "read_ctf",
    "read_indices",
    "read_latents",
    "read_poses",
    "write_ctf",
    "write_indices",
    "write_latents",
    "write_poses",
]

FloatArray = npt.NDArray[np.floating[Any]]


def _numeric(value: object, path: str | Path, what: str) -> npt.NDArray[Any]:
    """Takes an array of finite numbers, or refuses."""
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        found = f"dtype {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{path}: {what} must be a numpy array of numbers, found {found}")
    bad = np.flatnonzero(~np.isfinite(value).reshape(len(value), -1).all(axis=1))
    if bad.size:
        raise ValueError(f"{path}, row {bad[0] + 1}: {what} is not finite")
    return value


def read_poses(
    path: str | Path, *, in_pixels: bool = False
) -> tuple[FloatArray, FloatArray | None]:
    """Reads ``poses.pkl``.

    Args:
        path: Pickle of (rotations, translations), or of rotations alone.
        in_pixels: Whether translations are in pixels, as ``cryodrgn abinit`` writes them.

    Returns:
        Rotations, shape (N, 3, 3), not yet checked for orthonormality, and translations in
        fractions of the box (or in pixels), shape (N, 2), or None. Types as in the file.

    Raises:
        ValueError: If shapes or counts are wrong, a value is not finite, or a translation exceeds
            one (the old format, in pixels).
    """
    poses = load_pickles(path)[0]
    parts = poses if isinstance(poses, tuple) else (poses,)
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"{path}: expected (rotations, translations), found {len(parts)} objects")
    rotation = _numeric(parts[0], path, "rotation")
    if rotation.shape[1:] != (3, 3):
        raise ValueError(f"{path}: rotations must have shape (N, 3, 3), found {rotation.shape}")
    if len(parts) == 1:
        return rotation, None
    translation = _numeric(parts[1], path, "translation")
    if translation.shape != (len(rotation), 2):
        raise ValueError(
            f"{path}: translations must have shape ({len(rotation)}, 2) as there are "
            f"{len(rotation)} rotations, found {translation.shape}"
        )
    far = np.flatnonzero((np.abs(translation) > 1).any(axis=1))
    if far.size and not in_pixels:
        raise ValueError(
            f"{path}, row {far[0] + 1}: translation {translation[far[0]].tolist()} exceeds the "
            f"box; expected fractions of the box, not pixels"
        )
    return rotation, translation


def read_ctf(path: str | Path) -> npt.NDArray[np.float32]:
    """Reads ``ctf.pkl``.

    Args:
        path: Pickle of an (N, 9) array.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`.

    Raises:
        ValueError: If the shape is another or a value makes no sense.
    """
    ctf = _numeric(load_pickles(path)[0], path, "CTF")
    if ctf.ndim != 2 or ctf.shape[1] != 9:
        raise ValueError(f"{path}: CTF must have shape (N, 9), found {ctf.shape}")
    return check_ctf(ctf, str(path))


def read_indices(path: str | Path) -> npt.NDArray[np.int64]:
    """Reads a selection of images.

    Args:
        path: 0-based indices as a pickle (cryoDRGN's ``--ind``), a ``.npy``, or a ``.txt`` with one
            index a line.

    Returns:
        Shape (N,), int64, order kept.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If they are not integers in one dimension.
    """
    path = readable(path, "indices")
    if path.suffix.lower() in (".npz", ".csv", ".star", ".cs", ".mrcs", ".mrc"):
        raise ValueError(
            f"{path}: indices cannot be read from {path.suffix}, expected a pickle, .npy or .txt"
        )
    try:
        values = np.asarray(_read_any(path))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path}: indices cannot be read: {error}") from error
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise ValueError(
            f"{path}: indices must be integers in one dimension, found shape {values.shape} of "
            f"{values.dtype}"
        )
    return values.astype(np.int64)


def _read_any(path: Path) -> object:
    """Reads an array by the file's suffix."""
    match path.suffix.lower():
        case ".npy":
            return np.array(map_array(path, "an array of indices"))
        case ".txt":
            return np.array(read_text(path, "indices").split(), dtype=np.int64)
    return load_pickles(path)[0]


def read_latents(path: str | Path) -> tuple[FloatArray, FloatArray | None]:
    """Reads ``z.pkl``.

    Args:
        path: Pickle of latent means, with or without a second pickle of log-variances after it.

    Returns:
        Means, shape (N, Z), and log-variances of the same shape or None.

    Raises:
        ValueError: If shapes are wrong or a value is not finite.
    """
    objects = load_pickles(path)
    arrays = [_numeric(value, path, "latent") for value in objects[:2]]
    if any(array.ndim != 2 or array.shape != arrays[0].shape for array in arrays):
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise ValueError(f"{path}: latents must have one shape (N, Z), found {shapes}")
    return arrays[0], arrays[1] if len(arrays) > 1 else None


def write_poses(
    path: str | Path,
    rotation: npt.ArrayLike,
    translation_px: npt.ArrayLike | None,
    box_size: int,
) -> None:
    """Writes ``poses.pkl`` as cryoDRGN reads it.

    Args:
        path: File to write.
        rotation: Shape (N, 3, 3).
        translation_px: Shape (N, 2), (x, y) in pixels, or None.
        box_size: Image side D in pixels; translations are divided by D + 1, which cryoDRGN
            multiplies them with.

    Raises:
        ValueError: If shapes disagree, or a translation exceeds the box, which cryoDRGN refuses.
    """
    matrices = np.asarray(rotation, dtype=np.float32)
    if matrices.ndim != 3 or matrices.shape[1:] != (3, 3):
        raise ValueError(f"{path}: rotations must have shape (N, 3, 3), found {matrices.shape}")
    if translation_px is None:
        write_pickles(path, matrices)
        return
    shifts = np.asarray(translation_px, dtype=np.float64)
    if shifts.shape != (len(matrices), 2):
        raise ValueError(
            f"{path}: translations must have shape ({len(matrices)}, 2), found {shifts.shape}"
        )
    fraction = (shifts / (box_size + 1)).astype(np.float32)
    far = np.flatnonzero(~(np.abs(fraction) <= 1).all(axis=1))
    if far.size:
        raise ValueError(
            f"{path}, row {far[0] + 1}: translation {shifts[far[0]].tolist()} px exceeds the box "
            f"of {box_size} px"
        )
    write_pickles(path, (matrices, fraction))


def write_ctf(path: str | Path, ctf: npt.ArrayLike) -> None:
    """Writes ``ctf.pkl``.

    Args:
        path: File to write.
        ctf: Shape (N, 9), columns as in `ParticleBatch`.

    Raises:
        ValueError: If the shape is another.
    """
    rows = np.asarray(ctf, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != 9:
        raise ValueError(f"{path}: CTF must have shape (N, 9), found {rows.shape}")
    write_pickles(path, rows)


def write_indices(path: str | Path, indices: npt.ArrayLike) -> None:
    """Writes a selection of images as cryoDRGN's ``--ind`` takes it.

    Args:
        path: Pickle to write.
        indices: 0-based, shape (N,).
    """
    write_pickles(path, np.asarray(indices, dtype=np.int64))


def write_latents(
    path: str | Path, mean: npt.ArrayLike, log_variance: npt.ArrayLike | None = None
) -> None:
    """Writes ``z.pkl``: the means, then the log-variances as a second pickle.

    Args:
        path: File to write.
        mean: Shape (N, Z).
        log_variance: Shape (N, Z), or None.
    """
    arrays = [mean] if log_variance is None else [mean, log_variance]
    write_pickles(path, *(np.asarray(array, dtype=np.float32) for array in arrays))
