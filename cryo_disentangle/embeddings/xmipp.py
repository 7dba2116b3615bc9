"""Latents of HetSIREN, Zernike3Deep and their kin: a column of numbers joined by commas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Array, Embedding, ParticlePoses
from cryo_disentangle.files.star import StarTable, read_star
from cryo_disentangle.geometry import euler_zyz_to_rotation

__all__ = ["is_xmipp_run", "read_xmipp"]

_LATENTS = {
    "_latent_space": "HetSIREN",
    "_zernikeCoefficients": "Zernike3Deep",
    "_nmaDisplacements": "HEMNMA",
}
_EULER = ("_angleRot", "_angleTilt", "_anglePsi")
_SHIFT = ("_shiftX", "_shiftY")


def is_xmipp_run(folder: Path) -> bool:
    """Returns whether a folder holds metadata of Xmipp with latents.

    Args:
        folder: Any folder.

    Returns:
        Whether there are predicted latents, or an ``.xmd`` file with a column of latents.
    """
    return bool(_tables(folder))


def _tables(folder: Path) -> list[Path]:
    """Files with latents; those that a prediction wrote alone where there are some."""
    predicted = sorted(folder.glob("predicted_latents.*"))
    return predicted or [path for path in sorted(folder.glob("*.xmd")) if _found(path)]


def _found(path: Path) -> tuple[StarTable, str] | None:
    """The table with latents and their label."""
    for table in read_star(path).values():
        for label in _LATENTS:
            if label in table:
                return table, label
    return None


def read_xmipp(path: Path) -> Embedding:
    """Reads latents of Xmipp's metadata.

    Args:
        path: An ``.xmd`` or ``.star`` file with ``latent_space``, ``zernikeCoefficients`` or
            ``nmaDisplacements``, or a folder with one.

    Returns:
        The embedding, joined by ``image``; angles in RELION's convention.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such column, or rows of different lengths, or a folder has several.
    """
    if path.is_dir():
        files = _tables(path)
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise ValueError(f"{path}: several files of latents, name one: {names}")
        path = files[0]
    found = _found(path)
    if found is None:
        raise ValueError(f"{path}: no column {', '.join(name[1:] for name in _LATENTS)}")
    table, label = found
    return Embedding(
        _LATENTS[label],
        path,
        _vectors(table, label),
        image_names=np.array(list(table.strings("_image"))),
        poses=_poses(table),
    )


def _vectors(table: StarTable, label: str) -> Array:
    """Numbers (N, Z) joined by commas or blanks."""
    rows = [text.replace(",", " ").split() for text in table.strings(label)]
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{table.path}, row {number + 1}: {label[1:]} has {len(row)} numbers, the first "
                f"row {len(rows[0])}"
            )
    try:
        return np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{table.path}: {label[1:]} holds no numbers: {error}") from error


def _poses(table: StarTable) -> ParticlePoses | None:
    """Poses, shifts in pixels."""
    if not all(label in table for label in _EULER):
        return None
    rotation = euler_zyz_to_rotation(torch.from_numpy(table.columns(_EULER))).numpy()
    moved = table.columns(_SHIFT) if all(label in table for label in _SHIFT) else None
    return ParticlePoses(rotation, moved, "px", table.path)
