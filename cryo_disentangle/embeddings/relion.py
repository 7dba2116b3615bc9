"""Latents of RELION's multi-body refinement and of ``relion_flex_analyse``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.embeddings.embedding import Array, Embedding, ParticlePoses
from cryo_disentangle.files.star import StarTable, read_star
from cryo_disentangle.geometry import euler_zyz_to_rotation
from cryo_disentangle.geometry.rotations import rotation_to_rotation_vector
from cryo_disentangle.particles.keys import rows_by_key

__all__ = ["is_flex_analysis", "is_multi_body", "read_multi_body", "read_projections"]

# After the root of the output, by default "analyse".
_PROJECTIONS = "_projections_along_eigenvectors_all_particles.txt"
_IMAGE_NAME = "_rlnImageName"
_EULER = ("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi")
_ORIGIN = ("_rlnOriginXAngst", "_rlnOriginYAngst")
_ORIGIN_PIXELS = ("_rlnOriginX", "_rlnOriginY")
# A body that did not move has (rot, tilt, psi) = (0, 90, 0), RELION's flex_analyser.
_REST = torch.tensor([[0.0, 90.0, 0.0]], dtype=torch.float64)
_BODY = "images_body_"
_OF_VIEWS = "offsets lie in the plane of each view, so they follow the view by construction"


def is_multi_body(path: Path) -> bool:
    """Returns whether a folder or file is of a multi-body refinement.

    Args:
        path: Any folder, or a STAR file.

    Returns:
        Whether it, or its ``run_data.star``, has a table for each body.
    """
    star = path / "run_data.star" if path.is_dir() else path
    return star.is_file() and any(name.startswith(_BODY) for name in read_star(star))


def is_flex_analysis(path: Path) -> bool:
    """Returns whether a folder or file has projections of ``relion_flex_analyse`` alone.

    Args:
        path: Any folder or file.

    Returns:
        Whether there are components of particles, and no ``run_data.star`` of bodies.
    """
    if path.is_file():
        return path.name.endswith(_PROJECTIONS)
    return any(path.glob(f"*{_PROJECTIONS}")) and not is_multi_body(path)


def read_multi_body(path: Path, key: str | None = None) -> Embedding:
    """Reads how the bodies of a multi-body refinement moved.

    By default the rotation of each body from its place, as a rotation vector in degrees: there are
    no Euler angles to wrap. Translations, key ``translations``, are offsets in the plane of each
    view, so that they depend on the view by construction, and are judged apart. Key
    ``components`` reads the principal components that ``relion_flex_analyse`` writes beside.

    Args:
        path: Folder of the job, or its ``run_data.star``.
        key: ``rotations``, ``translations`` (Å, pixels before RELION 3.1) or ``components``.

    Returns:
        The embedding, with RELION's image names.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged or its rows are not those of the particles.
    """
    star = path / "run_data.star" if path.is_dir() else path
    tables = read_star(star)
    particles = _particle_table(star, tables)
    names = np.array(list(particles.strings(_IMAGE_NAME)))
    bodies = [tables[name] for name in sorted(tables, key=_number) if name.startswith(_BODY)]
    source = star
    if key == "components":
        source = _projections_file(star.parent)
        latents = _in_order(source, names)
        coordinates = tuple(f"component {k + 1}" for k in range(latents.shape[1]))
    elif key in (None, "rotations", "translations"):
        read, axes = (_origins, "xy") if key == "translations" else (_rotation, "xyz")
        latents = np.hstack([read(body) for body in bodies])
        what = key or "rotations"
        coordinates = tuple(
            f"body {k + 1} {what[:-1]} {axis}" for k in range(len(bodies)) for axis in axes
        )
    else:
        raise ValueError(f"{path}: no latents {key}, found rotations, translations and components")
    return Embedding(
        "RELION multi-body",
        source,
        latents,
        coordinates=coordinates,
        rows=np.arange(len(names)),
        image_names=names,
        poses=poses_of(particles),
        particles=str(star),
        mind=_OF_VIEWS if key == "translations" else "",
    )


def read_projections(path: Path) -> Embedding:
    """Reads principal components of ``relion_flex_analyse`` where no ``run_data.star`` is beside.

    Args:
        path: Its folder, or the file of projections.

    Returns:
        The embedding, with RELION's image names.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no table of numbers, or there are several.
    """
    source = _projections_file(path) if path.is_dir() else path
    if is_multi_body(source.parent):
        return read_multi_body(source.parent, "components")
    names, latents = _projections(source)
    coordinates = tuple(f"component {k + 1}" for k in range(latents.shape[1]))
    return Embedding(
        "RELION flex_analyse", source, latents, coordinates=coordinates, image_names=names
    )


def _particle_table(star: Path, tables: Mapping[str, StarTable]) -> StarTable:
    """The table of images, whose name differs between versions."""
    found = [table for table in tables.values() if _IMAGE_NAME in table]
    if len(found) != 1:
        names = ", ".join(f"data_{table.name}" for table in found) or "none"
        raise ValueError(f"{star}: expected one table with {_IMAGE_NAME}, found {names}")
    return found[0]


def _number(name: str) -> tuple[int, str]:
    """Sorts body 10 after body 9."""
    tail = name.removeprefix(_BODY)
    return (int(tail) if tail.isdigit() else 0, name)


def _rotation(body: StarTable) -> Array:
    """Rotation vectors from the body's place, degrees, shape (N, 3)."""
    matrices = euler_zyz_to_rotation(torch.from_numpy(body.columns(_EULER)))
    moved: Tensor = euler_zyz_to_rotation(_REST).mT @ matrices
    return np.degrees(rotation_to_rotation_vector(moved).numpy())


def _origins(table: StarTable) -> Array:
    """Offsets in the plane of the view, shape (N, 2): Å, or pixels before RELION 3.1."""
    return table.columns(_ORIGIN if _ORIGIN[0] in table else _ORIGIN_PIXELS)


def _projections_file(folder: Path) -> Path:
    """The file of principal components in a folder."""
    found = sorted(folder.glob(f"*{_PROJECTIONS}"))
    if not found:
        raise FileNotFoundError(
            f"{folder / f'analyse{_PROJECTIONS}'}: no such file; relion_flex_analyse writes it "
            "with --write_pca_projections"
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(f"{folder}: several files of projections, name one: {names}")
    return found[0]


def _projections(path: Path) -> tuple[Array, Array]:
    """Image names and principal components, a line for each particle."""
    try:
        text = path.read_text(encoding="utf-8")
        lines = [line.split() for line in text.splitlines() if line.strip()]
        return np.array([line[0] for line in lines]), np.array(
            [line[1:] for line in lines], dtype=np.float64
        )
    except ValueError as error:
        raise ValueError(f"{path}: not a table of numbers: {error}") from error


def _in_order(path: Path, names: Array) -> Array:
    """Principal components in the order of the particles."""
    found, latents = _projections(path)
    return latents[rows_by_key(names, found, "image name", path, "particles of run_data.star")]


def poses_of(table: StarTable) -> ParticlePoses | None:
    """Poses of a STAR table.

    Args:
        table: Table with RELION's angles.

    Returns:
        Poses, translations in Å or, of files before RELION 3.1, pixels; None where there are no
        angles.
    """
    if not all(label in table for label in _EULER):
        return None
    rotation = euler_zyz_to_rotation(torch.from_numpy(table.columns(_EULER))).numpy()
    for labels, unit in ((_ORIGIN, "angstrom"), (_ORIGIN_PIXELS, "px")):
        if all(label in table for label in labels):
            return ParticlePoses(rotation, table.columns(labels), unit, table.path)
    return ParticlePoses(rotation, None, "angstrom", table.path)
