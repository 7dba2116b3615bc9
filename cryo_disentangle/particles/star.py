"""Particle tables of RELION 3.0, 3.1 and 5.

References:
    RELION's conventions: relion.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files import StarTable, read_star

__all__ = ["StarParticles"]


class StarParticles:
    """The particle table of a STAR file, joined with its optics groups.

    The particle table is the largest but ``data_optics``; a label is looked up in the optics table
    first (RELION 3.1 and later), then in the particle table (3.0).

    Args:
        path: STAR file of RELION 3.0, 3.1 or 5.

    Raises:
        ValueError: If there is no particle table, or a row names no optics group, or an absent one.
    """

    def __init__(self, path: str | Path) -> None:
        tables = read_star(path)
        self.path = Path(path)
        self.optics = tables.pop("optics", None)
        if not tables:
            raise ValueError(f"{path}: no particle table beside data_optics")
        self.particles = max(tables.values(), key=len)
        self._group = self._join(self.optics) if self.optics is not None else None

    def _join(self, optics: StarTable) -> npt.NDArray[np.intp]:
        """Row of the optics table that each particle belongs to."""
        groups = optics.numbers("_rlnOpticsGroup")
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
            ValueError: If a value is not a finite number.
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
            ValueError: If a value is not a finite number.
        """
        optics, group = self.optics, self._group
        if optics is None or group is None or not any(label in optics for label in labels):
            return self.particles.columns(labels)
        if all(label in optics for label in labels):
            return optics.columns(labels)[group]
        return np.column_stack([self.numbers(label) for label in labels])
