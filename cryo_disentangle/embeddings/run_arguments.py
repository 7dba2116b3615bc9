"""Which rows of the particle file a run of cryoDRGN's family has embedded, and their poses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from cryo_disentangle.embeddings.embedding import Embedding, ParticlePoses
from cryo_disentangle.files.pickles import load_pickles
from cryo_disentangle.options.yaml_files import read_mapping
from cryo_disentangle.particles.pickles import read_indices

__all__ = ["read_run_poses", "with_arguments"]


def with_arguments(embedding: Embedding, configuration: Path) -> Embedding:
    """Adds rows and poses of a run that was made with or without ``--ind``.

    Args:
        embedding: Latents, in the order of the images that were selected.
        configuration: The run's configuration, ``.yaml`` or ``.pkl``.

    Returns:
        The same with ``rows``, ``particles``, and the poses that the run was given where it has not
        refined them; without rows where there is no configuration or its selection lies elsewhere,
        since latents then cannot be told apart by count.

    Raises:
        ValueError: If the configuration is damaged, or selects another number of images.
    """
    if not configuration.is_file():
        return embedding
    arguments = _dataset_arguments(configuration)
    particles = arguments.get("particles")
    found = replace(embedding, particles=particles if isinstance(particles, str) else None)
    selection = arguments.get("ind")
    if selection is None:
        found = replace(found, rows=np.arange(len(embedding)))
    elif (path := _place(selection, configuration)) is not None:
        rows = read_indices(path)
        if len(rows) != len(embedding):
            raise ValueError(
                f"{path}: selects {len(rows)} images, but {embedding.source} has {len(embedding)} "
                "latents; give the selection that the run was made with"
            )
        found = replace(found, rows=rows)
    given = arguments.get("poses")
    path = None if given is None or found.poses is not None else _place(given, configuration)
    return found if path is None else replace(found, poses=_selected(path, found))


def _place(named: object, configuration: Path) -> Path | None:
    """A file as the run was given it, or moved along with the run."""
    path = Path(str(named))
    places = (path, configuration.parent / path, configuration.parent / path.name)
    return next((place for place in places if place.is_file()), None)


def _selected(path: Path, embedding: Embedding) -> ParticlePoses | None:
    """Poses of the latents, from a file of all images or, as the program takes it, of those."""
    poses = read_run_poses(path, "box")
    if poses is None or len(poses.rotation) == len(embedding):
        return poses
    rows = embedding.rows
    if rows is None or rows.max() >= len(poses.rotation):
        raise ValueError(
            f"{path}: {len(poses.rotation)} poses, but {embedding.source} has {len(embedding)} "
            "latents, and which of the images they are of is not known; give the run's ind file"
        )
    return poses.take(rows)


def read_run_poses(path: Path, unit: str) -> ParticlePoses | None:
    """Reads poses of as many arrays as the program writes; rotations come first.

    Args:
        path: Pickle.
        unit: Unit of its translations. Fractions of the box beyond 1 are pixels, which
            ``cryodrgn abinit`` writes.

    Returns:
        The poses, or None where there is no such file.

    Raises:
        ValueError: If shapes are wrong.
    """
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
    if unit == "box" and moved is not None and len(moved) and np.abs(moved).max() > 1:
        unit = "px"
    return ParticlePoses(rotation, moved, unit, path)


def _dataset_arguments(path: Path) -> Mapping[str, Any]:
    """What a configuration says of its particles, at its top or in a section."""
    whole = load_pickles(path)[0] if path.suffix == ".pkl" else read_mapping(path)
    if not isinstance(whole, Mapping):
        raise ValueError(f"{path}: expected a mapping, found {type(whole).__name__}")
    section = whole.get("dataset_args", whole)
    return section if isinstance(section, Mapping) else whole
