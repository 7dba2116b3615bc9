"""Latents of cryoDRGN, DRGN-AI and OPUS-DSD: numbered pickles of one folder."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from cryo_disentangle.embeddings.embedding import Array, Embedding
from cryo_disentangle.embeddings.run_arguments import read_run_poses, with_arguments
from cryo_disentangle.files.checkpoints import read_tensors
from cryo_disentangle.options.yaml_files import read_mapping
from cryo_disentangle.particles.pickles import read_latents

__all__ = ["is_opus_run", "read_cryodrgn", "read_drgnai", "read_opus"]

# Files of torch.save are zip archives, which begin so; pickles do not.
_ZIP = b"PK"
_ONE_EPOCH = (
    "particles that training never visited keep random latents, which files of one epoch do not "
    "tell apart"
)


def is_opus_run(folder: Path) -> bool:
    """Returns whether a folder holds latents of OPUS-DSD.

    Args:
        folder: Any folder.

    Returns:
        Whether there are latents as it saves them, or a ``config.pkl`` beside them.
    """
    latents = [*folder.glob("z.pkl"), *folder.glob("z.[0-9]*.pkl")]
    return bool(latents) and ((folder / "config.pkl").is_file() or _is_archive(latents[0]))


def _is_archive(path: Path) -> bool:
    """Whether a file is one of torch.save."""
    with path.open("rb") as file:
        return file.read(2) == _ZIP


def _epochs(folder: Path, kind: str) -> dict[int, Path]:
    """Files ``kind.N.pkl`` by epoch."""
    return {
        int(match[1]): path
        for path in folder.iterdir()
        if (match := re.fullmatch(rf"{kind}\.(\d+)\.pkl", path.name))
    }


def _newest(folder: Path, kind: str, epoch: int | None) -> tuple[Path, str]:
    """File ``kind.N.pkl`` of an epoch and its suffix; the newest is ``kind.pkl`` or the last N."""
    numbered = _epochs(folder, kind)
    final = folder / f"{kind}.pkl"
    if epoch is None and final.is_file():
        return final, ""
    wanted = max(numbered, default=None) if epoch is None else epoch
    if wanted is None or wanted not in numbered:
        asked = f"{kind}.pkl or {kind}.N.pkl" if epoch is None else f"{kind}.{epoch}.pkl"
        found = ", ".join(map(str, sorted(numbered))) or "none"
        raise FileNotFoundError(f"{folder}: there is no {asked}, found epochs {found}")
    return numbered[wanted], f".{wanted}"


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
    configuration = folder / "config.yaml"
    # The mark of abinit, whose shifts are in pixels.
    is_abinit = configuration.is_file() and "data_norm_mean" in read_mapping(configuration)
    poses = read_run_poses(folder / f"pose{suffix}.pkl", "px" if is_abinit else "box")
    found = Embedding("cryoDRGN", path, mean, covariance=_diagonal(log_variance), poses=poses)
    return with_arguments(found, configuration)


def read_drgnai(folder: Path, epoch: int | None = None) -> Embedding:
    """Reads latents of DRGN-AI: ``out/conf.N.pkl``, shifts in pixels.

    Args:
        folder: The run's folder, or ``out`` in it.
        epoch: The epoch; None is the last.

    Returns:
        The embedding.

    Raises:
        FileNotFoundError: If there are no latents of that epoch.
        ValueError: If a file is damaged or not what it should be.
    """
    out = folder / "out" if (folder / "out").is_dir() else folder
    path, suffix = _newest(out, "conf", epoch)
    mean, _ = read_latents(path)
    poses = read_run_poses(out / f"pose{suffix}.pkl", "px")
    return with_arguments(
        Embedding("DRGN-AI", path, mean, poses=poses), out / "drgnai-configs.yaml"
    )


def read_opus(folder: Path, epoch: int | None = None, key: str | None = None) -> Embedding:
    """Reads latents of OPUS-DSD: ``z.N.pkl`` of torch, pose pickles of three arrays or more.

    Args:
        folder: The run's folder.
        epoch: The epoch; None is the last.
        key: ``mu``, the default, or ``multi_mu``, the latents of rigid bodies.

    Returns:
        The embedding. Particles that training never visited keep the random numbers that they
        began with: where a file of an earlier epoch has the same latents, they count as not
        embedded. The latents of one epoch alone do not tell them apart.

    Raises:
        FileNotFoundError: If there are no latents of that epoch.
        ValueError: If a file is damaged or not what it should be.
    """
    path, suffix = _newest(folder, "z", epoch)
    if not _is_archive(path):  # its older variational modes write as cryoDRGN does
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
        poses=read_run_poses(folder / f"pose{suffix}.pkl", "box"),
    )
    found = with_arguments(found, folder / "config.pkl")
    return _visited(found, key or "mu") if covariance is None else found


def _visited(embedding: Embedding, key: str) -> Embedding:
    """The particles whose latents training has changed since the first epoch that is kept.

    Each visit of a particle moves its latents; those of particles that never fill a batch of their
    direction of view stay as they were drawn.
    """
    first = min(_epochs(embedding.source.parent, "z").items(), default=(0, embedding.source))
    if first[1] == embedding.source or not _is_archive(first[1]):
        return replace(embedding, mind=_ONE_EPOCH)
    earlier = read_tensors(first[1], "weights").get(key)
    if earlier is None or np.shape(earlier) != embedding.latents.shape:
        return replace(embedding, mind=_ONE_EPOCH)
    visited = (np.asarray(earlier) != embedding.latents).any(axis=1)
    if visited.all():
        return embedding
    if not visited.any():
        raise ValueError(
            f"{embedding.source}: the latents of {first[1].name}, so that training has visited no "
            "particle between them"
        )
    mind = (
        f"{int((~visited).sum()):,} particles have the latents of {first[1].name}: training has "
        "not visited them since, and they count as not embedded"
    )
    return replace(embedding.take(visited), mind=mind)
