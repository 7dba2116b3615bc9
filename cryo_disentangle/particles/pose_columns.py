"""Poses of RELION's and cryoSPARC's tables, in cryoDRGN's conventions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.files.paths import MissingColumnError
from cryo_disentangle.geometry import euler_zyz_to_rotation
from cryo_disentangle.geometry.rotations import rotation_vector_to_rotation
from cryo_disentangle.particles.bounds import (
    ANGLE,
    BOX_SIZE,
    PIXEL_SIZE,
    Bounds,
    check_bounds,
)
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.grids import Grid, grid_of
from cryo_disentangle.particles.star import StarParticles

__all__ = [
    "FractionalPoses",
    "fractions_of_the_box",
    "poses_from_cryosparc",
    "poses_from_star",
    "table_poses",
    "TablePoses",
]

Float64Array = npt.NDArray[np.float64]

_ROWS_PER_CHUNK = 2**18
_ROTATION_VECTOR = Bounds(-100, 100, "radians")
_ORIGINS = ("_rlnOriginX", "_rlnOriginY")
_ORIGINS_ANGSTROM = ("_rlnOriginXAngst", "_rlnOriginYAngst")
_AGREEMENT_PX = 0.02


@dataclass(frozen=True)
class FractionalPoses:
    """Poses as tables have them, independent of the box size at hand.

    Attributes:
        rotation: Shape (N, 3, 3), float64, as in `Pose`.
        translation: Shape (N, 2), float64, (x, y) in fractions of the box, sign as in `Pose`.
    """

    rotation: Float64Array
    translation: Float64Array


@dataclass(frozen=True)
class TablePoses:
    """Poses with shifts in the table's own unit.

    Attributes:
        rotation: Shape (N, 3, 3), as in `Pose`.
        shift: Shape (N, 2), (x, y), or None where the table has no shifts.
        unit: Å in the shift's unit, shape (N,), 1 for shifts in Å; None for pixels of the table's
            own images.
        columns: The shift's columns, for messages.
    """

    rotation: Float64Array
    shift: Float64Array | None
    unit: Float64Array | None
    columns: str


def table_poses(
    table: StarParticles | CryosparcParticles, group: str = "alignments3D"
) -> TablePoses:
    """Reads poses of a table, with shifts in the unit that the table says.

    Args:
        table: Particles.
        group: Fields of a ``.cs`` file to read.

    Returns:
        Poses.

    Raises:
        MissingColumnError: If a column is missing.
        ValueError: If a value makes no sense.
    """
    if isinstance(table, CryosparcParticles):
        return _cryosparc_poses(table, group)
    return _star_poses(table)


def _cryosparc_poses(table: CryosparcParticles, group: str) -> TablePoses:
    """Shifts of a ``.cs`` are in pixels of the group's own ``psize_A``."""
    if f"{group}/pose" not in table:
        groups = table.pose_groups()
        hint = f"; there are some of {', '.join(groups)}: choose with alignments" if groups else ""
        raise MissingColumnError(f"{table.path}: no field {group}/pose, so no poses{hint}")
    vectors = table.numbers(f"{group}/pose", 3)
    for axis in range(3):
        check_bounds(vectors[:, axis], _ROTATION_VECTOR, str(table.path), f"{group}/pose")
    unit = None
    if f"{group}/psize_A" in table:
        unit = table.numbers(f"{group}/psize_A")
        check_bounds(unit, PIXEL_SIZE, str(table.path), f"{group}/psize_A")
    rotation = _rotations(rotation_vector_to_rotation, vectors)
    return TablePoses(rotation, table.numbers(f"{group}/shift", 2), unit, f"{group}/shift")


def _star_poses(table: StarParticles) -> TablePoses:
    """Shifts in Å (RELION 3.1 and later) or in pixels (3.0); where both are there, they agree."""
    labels = [f"_rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")]
    angles = table.columns(labels)
    for label, values in zip(labels, angles.T, strict=True):
        check_bounds(values, ANGLE, str(table.path), label)
    rotation = _rotations(euler_zyz_to_rotation, angles)
    pixels = any(label in table for label in _ORIGINS)
    angstroms = any(label in table for label in _ORIGINS_ANGSTROM)
    if not pixels and not angstroms:
        return TablePoses(rotation, None, None, "")
    if not pixels:
        shift = table.columns(_ORIGINS_ANGSTROM)
        return TablePoses(rotation, shift, np.ones(len(shift)), " and ".join(_ORIGINS_ANGSTROM))
    shift = table.columns(_ORIGINS)
    if angstroms:
        pixel_size = grid_of(table).pixel_size
        if pixel_size is None:
            raise ValueError(
                f"{table.path}: both {_ORIGINS[0]} and {_ORIGINS_ANGSTROM[0]} and no pixel size to "
                "compare them by: leave out one of the two"
            )
        _check_agreement(shift, table.columns(_ORIGINS_ANGSTROM) / pixel_size[:, None], table)
    return TablePoses(rotation, shift, None, " and ".join(_ORIGINS))


def _check_agreement(pixels: Float64Array, others: Float64Array, table: StarParticles) -> None:
    """Refuses shifts in pixels and in Å that contradict each other."""
    apart = np.flatnonzero((np.abs(pixels - others) > _AGREEMENT_PX).any(axis=1))
    if apart.size:
        row = apart[0]
        raise ValueError(
            f"{table.path}, row {row + 1}: {_ORIGINS[0]}, {_ORIGINS[1]} are {pixels[row, 0]:g}, "
            f"{pixels[row, 1]:g} pixels and {_ORIGINS_ANGSTROM[0]}, {_ORIGINS_ANGSTROM[1]} say "
            f"{others[row, 0]:g}, {others[row, 1]:g}: leave out those that are not meant"
        )


def _rotations(convert: Callable[[Tensor], Tensor], angles: Float64Array) -> Float64Array:
    """Converts N parameters (N, 3) in chunks: at once takes several times the result's memory."""
    rotation = np.empty((len(angles), 3, 3))
    for start in range(0, len(angles), _ROWS_PER_CHUNK):
        chunk = slice(start, start + _ROWS_PER_CHUNK)
        rotation[chunk] = convert(torch.from_numpy(angles[chunk])).numpy()
    return rotation


def fractions_of_the_box(poses: TablePoses, grid: Grid, source: str) -> FractionalPoses:
    """Converts shifts to fractions of the box.

    Args:
        poses: Poses of N particles.
        grid: Their images' box and pixel sizes; the latter are not needed for shifts in pixels of
            the image.
        source: File that the poses come from, for messages.

    Returns:
        Poses; translations are zero where there are no shifts.

    Raises:
        MissingColumnError: If box or pixel size are needed and not known.
        ValueError: If a shift exceeds the box.
    """
    if poses.shift is None:
        return FractionalPoses(poses.rotation, np.zeros((len(poses.rotation), 2)))
    if grid.box_size is None:
        raise MissingColumnError(
            f"{source}: no box size (_rlnImageSize or blob/shape); give the box size"
        )
    shift = poses.shift
    if poses.unit is not None:
        if grid.pixel_size is None:
            raise MissingColumnError(
                f"{source}: no pixel size, which {poses.columns} in Å need; add it to the file, or "
                "give optics.pixel_size (--data.optics.pixel_size)"
            )
        # A ratio of equal numbers is one, so that shifts in the image's pixels stay as they are.
        shift = shift * (poses.unit / grid.pixel_size)[:, None]
    fraction = shift / grid.box_size[:, None]
    far = np.flatnonzero(~(np.abs(fraction) <= 1).all(axis=1))
    if far.size:
        row = far[0]
        raise ValueError(
            f"{source}, row {row + 1}: {poses.columns} are {poses.shift[row, 0]:g}, "
            f"{poses.shift[row, 1]:g}, a shift of more than the box"
        )
    return FractionalPoses(poses.rotation, fraction)


def poses_from_star(
    path: str | Path | StarParticles,
    *,
    box_size: float | None = None,
    pixel_size: float | None = None,
) -> FractionalPoses:
    """Reads poses of a STAR file, RELION 3.0 to 5.

    Args:
        path: File, or the table read from it.
        box_size: Image side in pixels, in place of ``_rlnImageSize``.
        pixel_size: Å per pixel at that box, in place of ``_rlnImagePixelSize``.

    Returns:
        Poses; translations are zero where the table has no origins.

    Raises:
        MissingColumnError: If a column is missing and not given.
        ValueError: If a value makes no sense.
    """
    table = path if isinstance(path, StarParticles) else StarParticles(path)
    grid = _given(grid_of(table), len(table), box_size, pixel_size)
    return fractions_of_the_box(table_poses(table), grid, str(table.path))


def poses_from_cryosparc(
    path: str | Path | CryosparcParticles,
    *,
    box_size: float | None = None,
    pixel_size: float | None = None,
    group: str = "alignments3D",
) -> FractionalPoses:
    """Reads poses of a ``.cs`` file.

    Args:
        path: File, or the table read from it.
        box_size: Image side in pixels, in place of ``blob/shape``.
        pixel_size: Å per pixel at that box, in place of ``blob/psize_A``.
        group: Fields to read; ab-initio jobs have them under ``alignments_class_0``.

    Returns:
        Poses. Shifts are in pixels of the group's ``psize_A``, which need not be the images'.

    Raises:
        MissingColumnError: If a field is missing and not given.
        ValueError: If a value makes no sense.
    """
    table = path if isinstance(path, CryosparcParticles) else CryosparcParticles(path)
    grid = _given(grid_of(table), len(table), box_size, pixel_size)
    return fractions_of_the_box(table_poses(table, group), grid, str(table.path))


def _given(grid: Grid, count: int, box_size: float | None, pixel_size: float | None) -> Grid:
    """The table's grid but for what is given."""
    box, pixel = grid.box_size, grid.pixel_size
    if box_size is not None:
        box = np.full(count, float(box_size))
        check_bounds(box, BOX_SIZE, "box_size", "given")
    if pixel_size is not None:
        pixel = np.full(count, float(pixel_size))
        check_bounds(pixel, PIXEL_SIZE, "pixel_size", "given")
    return Grid(box, pixel)
