"""CTF parameters of particles: what they can be, and what takes their place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.bounds import CTF_BOUNDS, check_bounds, check_whole

__all__ = ["OVERRIDDEN", "CtfOverrides", "CtfTerms", "check_ctf", "overridden"]

OVERRIDDEN = (0, 1, 5, 6, 7, 8)
"""Columns of `ParticleBatch`'s CTF that the fields of `CtfOverrides` take the place of."""

_NAMES = (
    "box size of the CTF",
    "pixel size of the CTF",
    "defocus U",
    "defocus V",
    "defocus angle",
    "voltage",
    "spherical aberration",
    "amplitude contrast",
    "phase shift",
)


@dataclass(frozen=True)
class CtfOverrides:
    """Values that take the place of a table's columns, for every particle.

    Args:
        box_size: Image side in pixels that the pixel size is of.
        pixel_size: Å per pixel at that box.
        voltage_kv: Acceleration voltage in kV.
        spherical_aberration_mm: Spherical aberration Cs in mm.
        amplitude_contrast: Amplitude contrast w, between 0 and 1.
        phase_shift_deg: Phase shift of a phase plate in degrees.

    Raises:
        ValueError: If a value makes no sense.
    """

    box_size: float | None = None
    pixel_size: float | None = None
    voltage_kv: float | None = None
    spherical_aberration_mm: float | None = None
    amplitude_contrast: float | None = None
    phase_shift_deg: float | None = None

    def __post_init__(self) -> None:
        for column, (name, value) in zip(OVERRIDDEN, self.values().items(), strict=True):
            bounds = CTF_BOUNDS[column]
            if value is not None and not bounds.low <= value <= bounds.high:
                raise ValueError(
                    f"optics.{name} is {value:g}, expected {bounds.low:g} to {bounds.high:g} "
                    f"{bounds.unit}"
                )

    def values(self) -> dict[str, float | None]:
        """The values by name, None where none is given."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


@dataclass(frozen=True, eq=False)
class CtfTerms:
    """Terms of transfer functions beside the nine columns; None where not known.

    Args:
        ctf_scale: Scale factors, shape (N,), float32.
        ctf_b_factor: B factors in Å², shape (N,), float32.
        ctf_applied: What was done to the images with their CTF, shape (N,), int64, as in
            `ParticleBatch`.
    """

    ctf_scale: npt.NDArray[np.float32] | None = None
    ctf_b_factor: npt.NDArray[np.float32] | None = None
    ctf_applied: npt.NDArray[np.int64] | None = None

    def known(self) -> dict[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]:
        """The terms that are known, by name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: rows for name, rows in values.items() if rows is not None}

    def take(self, rows: slice | npt.NDArray[np.integer]) -> CtfTerms:
        """Selects particles.

        Args:
            rows: 0-based, a slice or shape (M,).

        Returns:
            Their terms, in that order.
        """
        return CtfTerms(**{name: values[rows] for name, values in self.known().items()})  # type: ignore[arg-type]  # names and types are those of `known`


def overridden(ctf: npt.NDArray[np.float32], overrides: CtfOverrides) -> npt.NDArray[np.float32]:
    """Returns CTF rows with given values in place of the file's.

    Args:
        ctf: Shape (N, 9), columns as in `ParticleBatch`.
        overrides: Values in place of columns.

    Returns:
        A copy with them.
    """
    changed = ctf.copy()
    for column, value in zip(OVERRIDDEN, overrides.values().values(), strict=True):
        if value is not None:
            changed[:, column] = value
    return changed


def check_ctf(
    ctf: npt.NDArray[np.floating], source: str, names: Sequence[str] = _NAMES
) -> npt.NDArray[np.float32]:
    """Refuses CTF rows that no microscope has.

    Args:
        ctf: Shape (N, 9).
        source: Where they come from, for the message.
        names: What its columns are called there.

    Returns:
        The rows as float32.

    Raises:
        ValueError: If a value is out of bounds; names the first such row and its column.
    """
    for column, (name, bounds) in enumerate(zip(names, CTF_BOUNDS, strict=True)):
        check_bounds(ctf[:, column], bounds, source, name)
    check_whole(ctf[:, 0], source, names[0])
    return ctf.astype(np.float32)
