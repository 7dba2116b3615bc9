"""Viewing directions of a particle file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.geometry import euler_zyz_to_rotation
from cryo_disentangle.geometry.rotations import rotation_vector_to_rotation
from cryo_disentangle.selection.particle_table import (
    CsParticleTable,
    ParticleTable,
    StarParticleTable,
)

__all__ = ["table_rotations"]

_ANGLES = ("_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi")
_POSE = "alignments3D/pose"


def table_rotations(table: ParticleTable) -> npt.NDArray[np.float64] | None:
    """Reads the rotation of each particle of a table.

    Args:
        table: Particle file.

    Returns:
        Shape (N, 3, 3), as in `Pose`, or None where it has no orientations.
    """
    if isinstance(table, StarParticleTable) and all(label in table.table for label in _ANGLES):
        return euler_zyz_to_rotation(torch.from_numpy(table.table.columns(_ANGLES))).numpy()
    if isinstance(table, CsParticleTable) and _POSE in table.table:
        vectors = torch.from_numpy(table.table.numbers(_POSE, 3))
        return rotation_vector_to_rotation(vectors).numpy()
    return None
