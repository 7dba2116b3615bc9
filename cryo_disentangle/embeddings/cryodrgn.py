"""Latents of cryoDRGN, DRGN-AI and OPUS-DSD: numbered pickles of one folder."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cryo_disentangle.embeddings.embedding import Array, Embedding, ParticlePoses
from cryo_disentangle.embeddings.selected_rows import with_rows
from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.files.pickles import load_pickles
from cryo_disentangle.particles.pickles import read_latents

__all__ = ["read_cryodrgn", "read_drgnai", "read_opus"]

# Files of torch.save are zip archives, which begin so; pickles do not.
_ZIP = b"PK"


def _newest(folder: Path, kind: str, epoch: int | None) -> tuple[Path, str]:
    """File ``kind.N.pkl`` of an epoch and its suffix; the newest is ``kind.pkl`` or the last N."""
    numbered = {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{kind}\.(\d+)\.pkl", path.name))
    }
    final = folder / f"{kind}.pkl"
    if epoch is None and final.is_file():
        return final, ""
    wanted = max(numbered, default=None) if epoch is None else epoch
    if wanted is None or wanted not in numbered:
        asked = f"{kind}.pkl or {kind}.N.pkl" if epoch is None else f"{kind}.{epoch}.pkl"
        found = ", ".join(map(str, sorted(numbered))) or "none"
        raise FileNotFoundError(f"{folder}: there is no {asked}, found epochs {found}")
    return numbered[wanted], f".{wanted}"


def _poses(path: Path, unit: str) -> ParticlePoses | None:
    """Poses beside latents, of as many arrays as the program writes; rotations come first."""
    if not path.is_file():
        return None
    stored = load_pickles(path)[0]
    parts = stored if isinstance(stored, tuple) else (stored,)
    rotation = np.asarray(parts[0])
    if rotation.ndim != 3 or rotation.shape[1:] != (3, 3):
        raise ValueError(f"{path}: rotations must have shape (N, 3, 3), found {rotation.shape}")
    moved = np.asarray(parts[1]) if len(parts) > 1 else None
    if moved is not None and moved.shape != (len(rotation), 2):
        raise ValueError(
            f"{path}: translations must have shape ({len(rotation)}, 2), found {moved.shape}"
        )
    return ParticlePoses(rotation, moved, unit, path)


def _diagonal(log_variance: Array | None) -> Array | None:
    """Covariances (N, Z, Z) of independent coordinates."""
    if log_variance is None:
        return None
    return np.exp(log_variance)[:, :, None] * np.eye(log_variance.shape[1], dtype=np.float32)


def read_cryodrgn(folder: Path, epoch: int | None = None) -> Embedding:
    """Reads latents of cryoDRGN 3 and 4: ``z.pkl`` or ``z.N.pkl``.

    Args:
        folder: The run's folder.
        epoch: The epoch; None is the last.

    Returns:
        The embedding; ``rows`` count in the particle file before ``--ind``.

    Raises:
        FileNotFoundError: If there are no latents of that epoch.
        ValueError: If a file is damaged or not what it should be.
    """
    path, suffix = _newest(folder, "z", epoch)
    mean, log_variance = read_latents(path)
    found = Embedding(
        "cryoDRGN",
        path,
        mean,
        covariance=_diagonal(log_variance),
        poses=_poses(folder / f"pose{suffix}.pkl", "box"),
    )
    return with_rows(found, folder / "config.yaml")


def read_drgnai(folder: Path, epoch: int | None = None) -> Embedding:
    """Reads latents of DRGN-AI: ``out/conf.N.pkl``, shifts in pixels.

    Args:
        folder: The run's folder.
        epoch: The epoch; None is the last.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If there are no latents of that epoch.
        ValueError: If a file is damaged or not what it should be.
    """
    path, suffix = _newest(folder / "out", "conf", epoch)
    mean, _ = read_latents(path)
    poses = _poses(folder / "out" / f"pose{suffix}.pkl", "px")
    return with_rows(
        Embedding("DRGN-AI", path, mean, poses=poses), folder / "out" / "drgnai-configs.yaml"
    )


def read_opus(folder: Path, epoch: int | None = None, key: str | None = None) -> Embedding:
    """Reads latents of OPUS-DSD: ``z.N.pkl`` of torch, pose pickles of three arrays or more.

    Args:
        folder: The run's folder.
        epoch: The epoch; None is the last.
        key: ``mu``, the default, or ``multi_mu``, the latents of rigid bodies.

    Returns:
        The embedding. Particles that training never visited keep the random numbers they began
        with, which the file does not tell apart.

    Raises:
        FileNotFoundError: If there are no latents of that epoch.
        ValueError: If a file is damaged or not what it should be.
    """
    path, suffix = _newest(folder, "z", epoch)
    with path.open("rb") as file:
        is_archive = file.read(2) == _ZIP
    if not is_archive:  # its older variational modes write as cryoDRGN does
        mean, log_variance = read_latents(path)
        covariance = _diagonal(log_variance)
    else:
        stored = read_tensors(path, "weights")
        wanted = key or "mu"
        if wanted not in stored:
            raise ValueError(f"{path}: no {wanted}, found {', '.join(sorted(stored))}")
        mean, covariance = np.asarray(stored[wanted]), None
    found = Embedding(
        "OPUS-DSD",
        path,
        mean,
        covariance=covariance,
        poses=_poses(folder / f"pose{suffix}.pkl", "box"),
    )
    return with_rows(found, folder / "config.pkl")
