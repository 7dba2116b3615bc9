"""Latents that are finished: files of others, and linear readings of a cell's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.arrays import read_archive
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.components import fit_independent
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.naming import name_axes
from cryo_disentangle.networks import LinearReadout
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.particles.pickles import read_latents

__all__ = ["find_latents", "read_along_axes", "read_linearly", "read_stored", "write_stored"]

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
        path: ``z.npz`` with ``z`` and, where they are known, ``log_variance``, each (N, Z), and
            ``covariance`` (N, Z, Z), or cryoDRGN's ``z.pkl``.
        count: Number N of particles.

    Returns:
        The latents, in the order of the particles.

    Raises:
        ValueError: If the file is no such file, or of another number of particles.
    """
    if path.suffix == ".pkl":
        mean, log_variance = read_latents(path)
        found = InferredParticles.of(mean, log_variance)
    else:
        found = _read_npz(path)
    if len(found) != count:
        raise ValueError(
            f"{path}: a row for each of {count} particles expected, found {len(found)} rows"
        )
    return found


def _read_npz(path: Path) -> InferredParticles:
    """Means, with log-variances and covariances where there are any."""
    found = read_archive(path, ["z", "log_variance", "covariance"], "latents")
    if "z" not in found:
        raise ValueError(
            f"{path}: an array named 'z' expected beside {', '.join(map(repr, found))}"
        )
    z = found["z"]
    for name, array in found.items():
        shape = (*z.shape, z.shape[-1]) if name == "covariance" else z.shape
        if z.ndim != 2 or array.dtype.kind not in "fiu" or array.shape != shape:
            raise ValueError(
                f"{path}: {name} must be numbers of shape (N, Z), the same for z and log_variance, "
                f"and (N, Z, Z) for covariance, found {array.dtype} {array.shape}"
            )
        if not np.isfinite(array).all():
            whole = np.isfinite(array).reshape(len(array), -1).all(axis=1)
            row = int(np.flatnonzero(~whole)[0])
            raise ValueError(f"{path}: {name} must be finite, row {row} is not")
    latents = InferredParticles.of(z, found.get("log_variance"))
    if "covariance" in found:
        return replace(latents, covariance=torch.from_numpy(found["covariance"]).float())
    return latents


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
    if latents.covariance is not None:
        arrays["covariance"] = latents.covariance.numpy()
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


def read_along_axes(
    latents: InferredParticles, labels: ParticleLabels, training: int, folder: Path
) -> InferredParticles:
    """Reads latents along axes named by the particles' times or temperatures.

    Args:
        latents: InferredParticles of all particles, shape (N, Z).
        labels: Of the same.
        training: The axes are found on the first so many.
        folder: What the command ``axes`` writes is kept in ``axes`` there.

    Returns:
        Coordinates along the axes, shape (N, Z), without variances; the latents as they are where
        noise explains one of them.
    """
    rows = np.arange(training)
    first = latents.take(rows)
    embedding = Embedding(
        "cryo-disentangle",
        folder,
        first.mean.numpy(),
        covariance=None if first.covariance is None else first.covariance.numpy(),
        rows=rows,
    )
    try:
        axes = name_axes(embedding, labels.take(rows), folder / "axes")
    except ValueError:
        # Noise explains a coordinate, so that there are no axes to be named.
        return InferredParticles.of(latents.mean)
    return InferredParticles.of(np.asarray(axes.transform(latents.mean.numpy())))
