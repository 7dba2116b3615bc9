"""Half sets that particles were refined in, as RELION and cryoSPARC keep them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.bounds import check_whole
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.star import StarParticles

__all__ = ["HalfSets", "table_half_sets"]

_SUBSET = "_rlnRandomSubset"


@dataclass(frozen=True)
class HalfSets:
    """Half set of each particle.

    Attributes:
        source: File and column.
        first: What the file calls the first of the two.
        number: As the file has it, shape (N,), int64.
    """

    source: str
    first: int
    number: npt.NDArray[np.int64]

    def take(self, rows: npt.NDArray[np.int64] | slice) -> HalfSets:
        """Selects particles.

        Args:
            rows: Positions among the N, shape (M,).

        Returns:
            Their half sets.
        """
        return replace(self, number=self.number[rows])

    def halves(self) -> npt.NDArray[np.int64] | None:
        """Numbers the two from 0.

        Returns:
            0 or 1, shape (N,), int64; None where all particles have the same number.

        Raises:
            ValueError: If there are others than two.
        """
        if (self.number == self.number[0]).all():
            return None
        half = self.number - self.first
        bad = np.flatnonzero((half < 0) | (half > 1))
        if bad.size:
            raise ValueError(
                f"{self.source}: half sets must be {self.first} and {self.first + 1}, found "
                f"{self.number[bad[0]]} (particle {bad[0] + 1}): correct the column, or leave it "
                "out and halves are drawn at random"
            )
        return half


def table_half_sets(
    table: StarParticles | CryosparcParticles, group: str = "alignments3D"
) -> HalfSets | None:
    """Reads half sets of a table.

    Args:
        table: Particles.
        group: Fields of a ``.cs`` file whose poses are read.

    Returns:
        RELION's ``_rlnRandomSubset`` (1 and 2) or cryoSPARC's ``split`` (0 and 1); None where there
        are none.

    Raises:
        ValueError: If one is not a whole number.
    """
    cryosparc = isinstance(table, CryosparcParticles)
    column, first = (f"{group}/split", 0) if cryosparc else (_SUBSET, 1)
    if column not in table:
        return None
    values = table.numbers(column)
    check_whole(values, str(table.path), column)
    return HalfSets(f"{table.path}, {column}", first, values.astype(np.int64))
