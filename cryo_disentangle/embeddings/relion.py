"""Latents of RELION's multi-body refinement and of ``relion_flex_analyse``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.embeddings.embedding import Array, Embedding, ParticlePoses
from cryo_disentangle.files.star import StarTable, read_star
from cryo_disentangle.geometry import euler_zyz_to_rotation
from cryo_disentangle.geometry.rotations import rotation_to_rotation_vector

__all__ = ["PROJECTIONS", "is_multi_body", "read_multi_body"]

PROJECTIONS = "analyse_projections_along_eigenvectors_all_particles.txt"
_EULER = ("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi")
_ORIGIN = ("_rlnOriginXAngst", "_rlnOriginYAngst")
# A body that did not move has (rot, tilt, psi) = (0, 90, 0), RELION's flex_analyser.
_REST = torch.tensor([[0.0, 90.0, 0.0]], dtype=torch.float64)
_BODY = "images_body_"


def is_multi_body(folder: Path) -> bool:
    """Returns whether a folder holds a multi-body refinement.

    Args:
        folder: Any folder.

    Returns:
        Whether its ``run_data.star`` has a table for each body.
    """
    path = folder / "run_data.star"
    return path.is_file() and any(name.startswith(_BODY) for name in read_star(path))


def read_multi_body(folder: Path, key: str | None = None) -> Embedding:
    """Reads how the bodies of a multi-body refinement moved.

    By default the rotation of each body from its place, as a rotation vector in degrees: there are
    no Euler angles to wrap. Translations, key ``translations``, are offsets in the plane of each
    view, so that they depend on the view by construction, and are judged apart. Key
    ``components`` reads the principal components of `PROJECTIONS`.

    Args:
        folder: Folder of the job.
        key: ``rotations``, ``translations`` (Å) or ``components``.

    Returns:
        The embedding, with RELION's image names.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or its rows are not those of the particles.
    """
    star = folder / "run_data.star"
    tables = read_star(star)
    particles = tables.get("particles")
    if particles is None:
        raise ValueError(f"{star}: no table data_particles")
    names = np.array(list(particles.strings("_rlnImageName")))
    bodies = [tables[name] for name in sorted(tables, key=_number) if name.startswith(_BODY)]
    source = star
    if key == "components":
        source = folder / PROJECTIONS
        latents = _projections(source, names)
        coordinates = tuple(f"component {k + 1}" for k in range(latents.shape[1]))
    elif key in (None, "rotations", "translations"):
        read, axes = (_translation, "xy") if key == "translations" else (_rotation, "xyz")
        latents = np.hstack([read(body) for body in bodies])
        what = key or "rotations"
        coordinates = tuple(
            f"body {k + 1} {what[:-1]} {axis}" for k in range(len(bodies)) for axis in axes
        )
    else:
        raise ValueError(
            f"{folder}: no latents {key}, found rotations, translations and components"
        )
    return Embedding(
        "RELION multi-body",
        source,
        latents,
        coordinates=coordinates,
        rows=np.arange(len(names)),
        image_names=names,
        poses=poses_of(particles),
        particles=str(star),
    )


def _number(name: str) -> tuple[int, str]:
    """Sorts body 10 after body 9."""
    tail = name.removeprefix(_BODY)
    return (int(tail) if tail.isdigit() else 0, name)


def _rotation(body: StarTable) -> Array:
    """Rotation vectors from the body's place, degrees, shape (N, 3)."""
    matrices = euler_zyz_to_rotation(torch.from_numpy(body.columns(_EULER)))
    moved: Tensor = euler_zyz_to_rotation(_REST).mT @ matrices
    return np.degrees(rotation_to_rotation_vector(moved).numpy())


def _translation(body: StarTable) -> Array:
    """Offsets in Å, in the plane of the view, shape (N, 2)."""
    return body.columns(_ORIGIN)


def _projections(path: Path, names: Array) -> Array:
    """Principal components, a line for each particle that begins with its image name."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such file; relion_flex_analyse writes it with --write_pca_projections"
        )
    lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    at = {line[0]: row for row, line in enumerate(lines)}
    missing = [name for name in names if name not in at]
    if missing or len(at) != len(lines):
        raise ValueError(
            f"{path}: {len(missing)} of {len(names)} particles of run_data.star have no line"
            + (f", the first {missing[0]}" if missing else ", and some have two")
        )
    try:
        return np.array([lines[at[name]][1:] for name in names], dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path}: not a table of numbers: {error}") from error


def poses_of(table: StarTable) -> ParticlePoses | None:
    """Poses of a STAR table.

    Args:
        table: Table with RELION's angles.

    Returns:
        Poses with translations in Å, or None where there are no angles.
    """
    if not all(label in table for label in _EULER):
        return None
    rotation = euler_zyz_to_rotation(torch.from_numpy(table.columns(_EULER))).numpy()
    moved = table.columns(_ORIGIN) if all(label in table for label in _ORIGIN) else None
    return ParticlePoses(rotation, moved, "angstrom", table.path)
