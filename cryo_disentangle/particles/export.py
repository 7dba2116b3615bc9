"""Particles as RELION takes them: a STAR file of version 3.1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.files.star import Column, write_star
from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.particles.ctf import check_ctf

__all__ = ["write_particles_star"]


def write_particles_star(
    path: str | Path,
    images: str | Sequence[str],
    *,
    box_size: int,
    pixel_size: float,
    rotation: npt.ArrayLike,
    translation_px: npt.ArrayLike | None = None,
    ctf: npt.ArrayLike | None = None,
    extra: Mapping[str, Column] | None = None,
) -> None:
    """Writes particles with poses and CTF; optics groups are found from the CTF rows.

    Args:
        path: STAR file to write.
        images: Name of the one stack that holds them in order, or a name per particle as in
            ``_rlnImageName``.
        box_size: Image side in pixels.
        pixel_size: Å per pixel, for particles without CTF.
        rotation: Shape (N, 3, 3), as in `Pose`.
        translation_px: Shape (N, 2), (x, y) in pixels as in `Pose`, or None for zeros.
        ctf: Shape (N, 9), columns as in `ParticleBatch`, or None.
        extra: More columns of the particle table, by label.

    Raises:
        ValueError: If counts disagree or CTF rows make no sense.
    """
    matrices = np.asarray(rotation, dtype=np.float64)
    count = len(matrices)
    shifts = np.zeros((count, 2)) if translation_px is None else np.asarray(translation_px)
    rows = None if ctf is None else check_ctf(np.asarray(ctf, dtype=np.float32), str(path))
    if shifts.shape != (count, 2) or (rows is not None and len(rows) != count):
        raise ValueError(
            f"{path}: {count} rotations, translations of shape {shifts.shape} and "
            f"{count if rows is None else len(rows)} CTF rows disagree"
        )
    optics, group, pixel_sizes = _optics(rows, count, box_size, pixel_size)
    angles = rotation_to_euler_zyz(torch.from_numpy(matrices)).numpy()
    columns: dict[str, Column] = {"_rlnImageName": _image_names(images, count)}
    columns |= {f"_rlnAngle{name}": angles[:, i] for i, name in enumerate(("Rot", "Tilt", "Psi"))}
    angstroms = shifts.astype(np.float64) * pixel_sizes[:, None]
    columns |= {f"_rlnOrigin{axis}Angst": angstroms[:, i] for i, axis in enumerate("XY")}
    if rows is not None:
        labels = ("_rlnDefocusU", "_rlnDefocusV", "_rlnDefocusAngle")
        columns |= {label: rows[:, i] for i, label in enumerate(labels, start=2)}
        columns["_rlnPhaseShift"] = rows[:, 8]
    columns["_rlnOpticsGroup"] = group
    write_star(path, {"optics": optics, "particles": columns | dict(extra or {})})


def _image_names(images: str | Sequence[str], count: int) -> Sequence[str]:
    """Names of RELION: the image's number from 1, at the stack."""
    if isinstance(images, str):
        return [f"{number:06d}@{images}" for number in range(1, count + 1)]
    return images


def _optics(
    rows: npt.NDArray[np.float32] | None, count: int, box_size: int, pixel_size: float
) -> tuple[dict[str, Column], npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The optics table, the group of each particle (from 1) and its pixel size."""
    columns: dict[str, Column] = {}
    if rows is None:
        group, sizes = np.ones(count, dtype=np.int64), np.array([float(pixel_size)])
    else:
        # The float32 product would not be the pixel size that people typed.
        sizes_px = rows[:, 0].astype(np.float64) * rows[:, 1] / box_size
        kinds = np.column_stack([np.round(sizes_px, 6), rows[:, 5:8]])
        kinds, inverse = np.unique(kinds, axis=0, return_inverse=True)
        group, sizes = inverse.reshape(-1) + 1, kinds[:, 0]
        labels = ("_rlnVoltage", "_rlnSphericalAberration", "_rlnAmplitudeContrast")
        columns = {label: kinds[:, i].astype(np.float32) for i, label in enumerate(labels, 1)}
    numbers = np.arange(1, len(sizes) + 1)
    table: dict[str, Column] = {
        "_rlnOpticsGroup": numbers,
        "_rlnOpticsGroupName": [f"opticsGroup{number}" for number in numbers],
        **columns,
        "_rlnImagePixelSize": sizes,
        "_rlnImageSize": np.full(len(sizes), box_size),
        "_rlnImageDimensionality": np.full(len(sizes), 2),
    }
    return table, group, sizes[group - 1]
