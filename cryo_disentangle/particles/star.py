"""Particle tables of RELION 3.0, 3.1 and 5.

References:
    RELION's conventions: relion.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.star import StarTable, read_star

__all__ = ["StarParticles"]

_IMAGE = "_rlnImageName"
# Columns that opening a stack asks for, so that the file is gone through once.
_READ_ONCE = (
    *(_IMAGE, "_rlnOpticsGroup", "_rlnAngleRot", "_rlnAngleTilt", "_rlnAnglePsi"),
    *("_rlnOriginXAngst", "_rlnOriginYAngst", "_rlnOriginX", "_rlnOriginY"),
    *("_rlnAmplitudeContrast", "_rlnCtfScalefactor", "_rlnCtfBfactor", "_rlnNormCorrection"),
    *("_rlnDefocusU", "_rlnDefocusV", "_rlnDefocusAngle", "_rlnPhaseShift"),
    *("_rlnMagnification", "_rlnDetectorPixelSize", "_rlnVoltage", "_rlnSphericalAberration"),
    "_rlnRandomSubset",
)


class StarParticles:
    """The particle table of a STAR file, joined with its optics groups.

    The particle table is the one with ``_rlnImageName``, ``data_particles`` where several have it;
    a label is looked up in the optics table first (RELION 3.1 and later), then in the particle
    table (3.0).

    Args:
        path: STAR file of RELION 3.0, 3.1 or 5.

    Attributes:
        path: The file.
        optics: The table of optics groups, or None.
        particles: The particle table.
        others: The other tables, by name.

    Raises:
        ValueError: If there is no particle table, or a row names no optics group, or an absent one,
            or an optics group is there twice with other values.
    """

    def __init__(self, path: str | Path) -> None:
        tables = read_star(path, kept=_READ_ONCE)
        self.path = Path(path)
        self.optics = tables.pop("optics", None)
        if not tables:
            raise ValueError(f"{path}: no particle table beside data_optics")
        name = _particle_table(tables, self.path)
        self.particles = tables.pop(name)
        self.others = tables
        self._group = self._join(self.optics) if self.optics is not None else None

    def _join(self, optics: StarTable) -> npt.NDArray[np.intp]:
        """Row of the optics table that each particle belongs to."""
        groups = optics.numbers("_rlnOpticsGroup")
        _check_repeats(optics, groups)
        order = np.argsort(groups)
        wanted = self.particles.numbers("_rlnOpticsGroup")
        place = np.searchsorted(groups, wanted, sorter=order).clip(max=len(groups) - 1)
        row = order[place]
        missing = np.flatnonzero(groups[row] != wanted)
        if missing.size:
            known = ", ".join(f"{group:g}" for group in groups)
            raise ValueError(
                f"{self.path}, row {missing[0] + 1} of data_{self.particles.name}: optics group "
                f"{wanted[missing[0]]:g} is not in data_optics, which has {known}"
            )
        return row

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.particles)

    def __contains__(self, label: object) -> bool:
        """Whether either table has the label."""
        return label in self.particles or (self.optics is not None and label in self.optics)

    def numbers(self, label: str) -> npt.NDArray[np.float64]:
        """Reads a number per particle.

        Args:
            label: For example ``_rlnVoltage``.

        Returns:
            Shape (N,).

        Raises:
            MissingColumnError: If neither table has the label.
            ValueError: If a value is not a finite number, or the two tables contradict each other.
        """
        return self.columns([label])[:, 0]

    def columns(self, labels: Sequence[str]) -> npt.NDArray[np.float64]:
        """Reads several numbers per particle, going through the file once.

        Args:
            labels: For example ``_rlnAngleRot``, ``_rlnAngleTilt``; at least one.

        Returns:
            Shape (N, len(labels)).

        Raises:
            MissingColumnError: If neither table has a label.
            ValueError: If a value is not a finite number, or the two tables contradict each other.
        """
        optics, group = self.optics, self._group
        if optics is None or group is None or not any(label in optics for label in labels):
            return self.particles.columns(labels)
        if len(labels) > 1 and not all(label in optics for label in labels):
            return np.column_stack([self.numbers(label) for label in labels])
        values = optics.columns(labels)[group]
        for label, column in zip(labels, values.T, strict=True):
            if label in self.particles:
                self._check_agreement(label, column)
        return values

    def _check_agreement(self, label: str, of_group: npt.NDArray[np.float64]) -> None:
        """Refuses a particle whose own value contradicts its optics group's."""
        own = self.particles.numbers(label)
        apart = np.flatnonzero(~np.isclose(own, of_group, rtol=1e-3, atol=1e-9))
        if apart.size:
            row = apart[0]
            raise ValueError(
                f"{self.path}, row {row + 1} of data_{self.particles.name}: {label} is "
                f"{own[row]:g}, and {of_group[row]:g} in its optics group: leave out what is not "
                "meant"
            )


def _particle_table(tables: Mapping[str, StarTable], path: Path) -> str:
    """Name of the table that particles are in."""
    with_images = [name for name, table in tables.items() if _IMAGE in table]
    candidates = with_images or list(tables)
    if len(candidates) == 1:
        return candidates[0]
    if "particles" in candidates:
        return "particles"
    found = ", ".join(f"data_{name}" for name in candidates)
    if with_images:
        raise ValueError(
            f"{path}: several tables have {_IMAGE} ({found}): which holds the particles? Name it "
            "data_particles"
        )
    raise ValueError(f"{path}: no table has {_IMAGE}, found {found}")


def _check_repeats(optics: StarTable, groups: npt.NDArray[np.float64]) -> None:
    """Refuses an optics group that is there twice with other values."""
    rows: dict[float, int] = {}
    texts = list(zip(*(optics.strings(label) for label in optics.labels), strict=True))
    for row, group in enumerate(groups.tolist()):
        first = rows.setdefault(group, row)
        for label, text, other in zip(optics.labels, texts[first], texts[row], strict=True):
            if label != "_rlnOpticsGroupName" and not _same_value(text, other):
                raise ValueError(
                    f"{optics.path}: optics group {group:g} is twice in data_optics, rows "
                    f"{first + 1} and {row + 1}, with {label} {text} and {other}"
                )


def _same_value(text: str, other: str) -> bool:
    """Whether two texts are equal, or one number written in two ways."""
    try:
        return text == other or float(text) == float(other)
    except ValueError:
        return False
