"""Poses and CTF parameters of RELION's and cryoSPARC's tables, in cryoDRGN's conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.files import MissingColumnError
from cryo_disentangle.geometry import euler_zyz_to_rotation, rotation_vector_to_rotation
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.star import StarParticles

__all__ = [
    "CtfOverrides",
    "FractionalPoses",
    "check_ctf",
    "ctf_from_cryosparc",
    "ctf_from_star",
    "pixel_size_from_star",
    "poses_from_cryosparc",
    "poses_from_star",
    "tells_pixel_size",
]

Float64Array = npt.NDArray[np.float64]


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
class CtfOverrides:
    """Values that take the place of a table's columns, for every particle.

    Attributes:
        box_size: Image side in pixels.
        pixel_size: Å per pixel at that box.
        voltage_kv: Acceleration voltage.
        spherical_aberration_mm: Spherical aberration Cs.
        amplitude_contrast: Amplitude contrast w, between 0 and 1.
        phase_shift_deg: Phase shift of a phase plate.
    """

    box_size: float | None = None
    pixel_size: float | None = None
    voltage_kv: float | None = None
    spherical_aberration_mm: float | None = None
    amplitude_contrast: float | None = None
    phase_shift_deg: float | None = None


_NO_OVERRIDES = CtfOverrides()
_ROWS_PER_CHUNK = 2**18
_DETECTOR = ("_rlnDetectorPixelSize", "_rlnMagnification")


def _overridden(
    value: float | None, count: int, read: Callable[[], Float64Array], hint: str
) -> Float64Array:
    """The override for every particle, else the column, else a complaint with a hint."""
    if value is not None:
        return np.full(count, float(value))
    try:
        return read()
    except MissingColumnError as error:
        raise MissingColumnError(f"{error}; {hint}") from None


def _rotations(convert: Callable[[Tensor], Tensor], angles: Float64Array) -> Float64Array:
    """Converts N parameters (N, 3) in chunks: at once takes several times the result's memory."""
    rotation = np.empty((len(angles), 3, 3))
    for start in range(0, len(angles), _ROWS_PER_CHUNK):
        chunk = slice(start, start + _ROWS_PER_CHUNK)
        rotation[chunk] = convert(torch.from_numpy(angles[chunk])).numpy()
    return rotation


def tells_pixel_size(table: StarParticles) -> bool:
    """Tells whether `pixel_size_from_star` finds what it needs.

    Args:
        table: Particles.

    Returns:
        Whether the columns are there.
    """
    return "_rlnImagePixelSize" in table or all(label in table for label in _DETECTOR)


def pixel_size_from_star(table: StarParticles) -> Float64Array:
    """Reads the pixel size of each particle.

    Args:
        table: Particles.

    Returns:
        Å per pixel, shape (N,): ``_rlnImagePixelSize``, else RELION 3.0's detector pixel size in µm
        times 10,000 over the magnification.

    Raises:
        MissingColumnError: If neither is there.
    """
    if "_rlnImagePixelSize" not in table and tells_pixel_size(table):
        detector, magnification = table.columns(_DETECTOR).T
        return detector * 1e4 / magnification
    return table.numbers("_rlnImagePixelSize")


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
        ValueError: If a value is not a number.
    """
    table = path if isinstance(path, StarParticles) else StarParticles(path)
    angles = table.columns([f"_rlnAngle{name}" for name in ("Rot", "Tilt", "Psi")])
    rotation = _rotations(euler_zyz_to_rotation, angles)
    if "_rlnOriginX" in table or "_rlnOriginY" in table:
        pixels = table.columns([f"_rlnOrigin{axis}" for axis in "XY"])
    elif "_rlnOriginXAngst" in table or "_rlnOriginYAngst" in table:
        angstroms = table.columns([f"_rlnOrigin{axis}Angst" for axis in "XY"])
        scale = _overridden(
            pixel_size, len(table), lambda: pixel_size_from_star(table), "give the pixel size"
        )
        pixels = angstroms / scale[:, None]
    else:
        return FractionalPoses(rotation, np.zeros((len(table), 2)))
    box = _overridden(
        box_size, len(table), lambda: table.numbers("_rlnImageSize"), "give the box size"
    )
    return FractionalPoses(rotation, pixels / box[:, None])


def ctf_from_star(
    path: str | Path | StarParticles, overrides: CtfOverrides = _NO_OVERRIDES
) -> npt.NDArray[np.float32]:
    """Reads CTF parameters of a STAR file, RELION 3.0 to 5.

    Args:
        path: File, or the table read from it.
        overrides: Values in place of columns.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`; each particle's own optics group.

    Raises:
        MissingColumnError: If a column is missing and not given.
        ValueError: If a value is not a number.
    """
    table = path if isinstance(path, StarParticles) else StarParticles(path)
    labels = (
        "_rlnImageSize",
        "_rlnImagePixelSize",
        "_rlnVoltage",
        "_rlnSphericalAberration",
        "_rlnAmplitudeContrast",
        "_rlnPhaseShift",
    )

    def read(label: str) -> Float64Array:
        if label == "_rlnImagePixelSize":
            return pixel_size_from_star(table)
        if label == "_rlnPhaseShift" and label not in table:
            return np.zeros(len(table))
        return table.numbers(label)

    readers = [partial(read, label) for label in labels]
    ctf = _with_optics(len(table), overrides, readers)
    ctf[:, 2:5] = table.columns([f"_rlnDefocus{name}" for name in ("U", "V", "Angle")])
    return check_ctf(ctf, str(table.path))


def poses_from_cryosparc(
    path: str | Path | CryosparcParticles,
    *,
    box_size: float | None = None,
    group: str = "alignments3D",
    shift_scale: float = 1.0,
) -> FractionalPoses:
    """Reads poses of a ``.cs`` file.

    Args:
        path: File, or the table read from it.
        box_size: Image side in pixels, in place of ``blob/shape``.
        group: Fields to read; ab-initio jobs have them under ``alignments_class_0``.
        shift_scale: Factor on shifts: 2 for cryoSPARC's heterogeneous refinement, which halves the
            box.

    Returns:
        Poses.

    Raises:
        MissingColumnError: If a field is missing.
        ValueError: If a field is of another type.
    """
    table = path if isinstance(path, CryosparcParticles) else CryosparcParticles(path)
    rotation = _rotations(rotation_vector_to_rotation, table.numbers(f"{group}/pose", 3))
    shift = table.numbers(f"{group}/shift", 2) * shift_scale
    box = float(table.numbers("blob/shape", 2)[0, 0]) if box_size is None else box_size
    return FractionalPoses(rotation, shift / box)


def ctf_from_cryosparc(
    path: str | Path | CryosparcParticles, overrides: CtfOverrides = _NO_OVERRIDES
) -> npt.NDArray[np.float32]:
    """Reads CTF parameters of a ``.cs`` file.

    Args:
        path: File, or the table read from it.
        overrides: Values in place of fields.

    Returns:
        Shape (N, 9), float32, columns as in `ParticleBatch`.

    Raises:
        MissingColumnError: If a field is missing and not given.
        ValueError: If a field is of another type.
    """
    table = path if isinstance(path, CryosparcParticles) else CryosparcParticles(path)
    readers: tuple[Callable[[], Float64Array], ...] = (
        lambda: table.numbers("blob/shape", 2)[:, 0],
        lambda: table.numbers("blob/psize_A"),
        lambda: table.numbers("ctf/accel_kv"),
        lambda: table.numbers("ctf/cs_mm"),
        lambda: table.numbers("ctf/amp_contrast"),
        lambda: np.degrees(table.numbers("ctf/phase_shift_rad")),
    )
    ctf = _with_optics(len(table), overrides, readers)
    ctf[:, 2] = table.numbers("ctf/df1_A")
    ctf[:, 3] = table.numbers("ctf/df2_A")
    ctf[:, 4] = np.degrees(table.numbers("ctf/df_angle_rad"))
    return check_ctf(ctf, str(table.path))


def _with_optics(
    count: int, overrides: CtfOverrides, readers: Sequence[Callable[[], Float64Array]]
) -> npt.NDArray[np.float32]:
    """CTF rows (N, 9) but for the defocus, from what takes the place of columns and the columns."""
    # In the precision that is kept: in double, the temporaries would outweigh the result.
    ctf = np.empty((count, 9), dtype=np.float32)
    columns, names = (0, 1, 5, 6, 7, 8), CtfOverrides.__dataclass_fields__
    for column, name, value, read in zip(columns, names, astuple(overrides), readers, strict=True):
        ctf[:, column] = _overridden(value, count, read, f"give CtfOverrides({name}=...)")
    return ctf


def check_ctf(ctf: npt.NDArray[np.floating], source: str) -> npt.NDArray[np.float32]:
    """Refuses CTF rows that no microscope has.

    Args:
        ctf: Shape (N, 9), finite.
        source: Where they come from, for the message.

    Returns:
        The rows as float32.

    Raises:
        ValueError: If a box size, pixel size or voltage is not positive, or an amplitude contrast
            not within -1 and 1; names the first such row.
    """
    for column, name in ((0, "box size"), (1, "pixel size"), (5, "voltage")):
        bad = np.flatnonzero(~(ctf[:, column] > 0))
        if bad.size:
            raise ValueError(
                f"{source}, row {bad[0] + 1}: {name} of the CTF must be positive, found "
                f"{ctf[bad[0], column]:g}"
            )
    bad = np.flatnonzero(~(np.abs(ctf[:, 7]) <= 1))
    if bad.size:
        raise ValueError(
            f"{source}, row {bad[0] + 1}: amplitude contrast must be between -1 and 1, found "
            f"{ctf[bad[0], 7]:g}"
        )
    return ctf.astype(np.float32)
