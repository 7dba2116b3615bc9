"""Latents that are finished: files of others, and linear readings of a cell's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.components import fit_independent
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.particles.pickles import read_latents

__all__ = ["find_latents", "read_linearly", "read_stored", "write_stored"]

_NAMES = ("z.npz", "z.pkl")


def find_latents(folder: Path) -> Path:
    """Finds the latents of a folder.

    Args:
        folder: With ``z.npz`` or ``z.pkl``.

    Returns:
        The file.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If there are both.
    """
    found = [folder / name for name in _NAMES if (folder / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{folder}: z.npz or z.pkl expected, found neither")
    if len(found) > 1:
        raise ValueError(f"{folder}: z.npz or z.pkl expected, found both")
    return found[0]


def read_stored(path: Path, count: int) -> InferredParticles:
    """Reads latents of a whole stack.

    Args:
        path: ``z.npz`` with ``z`` and, where it is known, ``log_variance``, each (N, Z), or
            cryoDRGN's ``z.pkl``.
        count: Number N of particles.

    Returns:
        The latents, in the order of the particles.

    Raises:
        ValueError: If the file is no such file, or of another number of particles.
    """
    if path.suffix == ".pkl":
        mean, log_variance = read_latents(path)
    else:
        mean, log_variance = _read_npz(path)
    if len(mean) != count:
        raise ValueError(
            f"{path}: a row for each of {count} particles expected, found {len(mean)} rows"
        )
    return InferredParticles.of(mean, log_variance)


def _read_npz(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Means, and log-variances where there are any."""
    found = read_archive(path, ["z", "log_variance"], "latents")
    if "z" not in found:
        raise ValueError(f"{path}: an array named 'z' expected beside 'log_variance'")
    for name, array in found.items():
        if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape != found["z"].shape:
            raise ValueError(
                f"{path}: {name} must be numbers of shape (N, Z), the same for z and log_variance, "
                f"found {array.dtype} {array.shape}"
            )
        if not np.isfinite(array).all():
            row = int(np.flatnonzero(~np.isfinite(array).all(axis=1))[0])
            raise ValueError(f"{path}: {name} must be finite, row {row} is not")
    return found["z"], found.get("log_variance")


def write_stored(path: Path, latents: InferredParticles) -> None:
    """Writes latents as `read_stored` reads them.

    Args:
        path: ``z.npz``.
        latents: InferredParticles of all particles.

    Raises:
        OSError: If the file can't be written.
    """
    arrays = {"z": latents.mean.numpy()}
    if latents.log_variance is not None:
        arrays["log_variance"] = latents.log_variance.numpy()
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def read_linearly(latents: InferredParticles, kind: str) -> InferredParticles:
    """Reads components of latents.

    Args:
        latents: InferredParticles of all particles, shape (N, Z).
        kind: ``pca`` or ``ica``.

    Returns:
        The components, shape (N, Z), without variances.

    Raises:
        ValueError: If the latents have no components, as where all are the same.
    """
    mean = latents.mean
    reading = LinearReadout.pca(mean) if kind == "pca" else fit_independent(mean)
    return InferredParticles.of(reading(mean))
