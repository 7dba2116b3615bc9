"""Latents of HetSIREN, Zernike3Deep and their kin: a column of numbers joined by commas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Array, Embedding, ParticlePoses
from cryo_disentangle.files.star import StarTable, read_star
from cryo_disentangle.geometry import euler_zyz_to_rotation

__all__ = ["read_xmipp"]

_LATENTS = {
    "_latent_space": "HetSIREN",
    "_zernikeCoefficients": "Zernike3Deep",
    "_nmaDisplacements": "HEMNMA",
}
_EULER = ("_angleRot", "_angleTilt", "_anglePsi")
_SHIFT = ("_shiftX", "_shiftY")


def read_xmipp(path: Path) -> Embedding:
    """Reads latents of Xmipp's metadata.

    Args:
        path: An ``.xmd`` or ``.star`` file with ``latent_space``, ``zernikeCoefficients`` or
            ``nmaDisplacements``.

    Returns:
        The embedding, joined by ``image``; angles in RELION's convention.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no such column, or rows of different lengths.
    """
    for table in read_star(path).values():
        for label, tool in _LATENTS.items():
            if label in table:
                return Embedding(
                    tool,
                    path,
                    _vectors(table, label),
                    image_names=np.array(list(table.strings("_image"))),
                    poses=_poses(table),
                )
    raise ValueError(f"{path}: no column {', '.join(name[1:] for name in _LATENTS)}")


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
