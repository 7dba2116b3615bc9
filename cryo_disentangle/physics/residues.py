"""Adenylate kinase as a bead for each residue, open and closed."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["CORE", "LID", "NMP", "Residues", "load_residues"]

CORE, NMP, LID = 0, 1, 2
Array = npt.NDArray[np.float64]


class Residues(NamedTuple):
    """The 214 residues of adenylate kinase of E. coli.

    Attributes:
        open: Cα positions of PDB entry 4AKE in Å, the CORE's centre at the origin, shape (214, 3).
        closed: Those of 1AKE, superposed on the CORE of the open structure, shape (214, 3).
        electrons: Sum of the atomic numbers of the heavy atoms, shape (214,).
        spread: Standard deviation of the heavy atoms about the Cα atom in Å, shape (214,).
        domain: `CORE`, `NMP` (residues 30 to 59) or `LID` (122 to 159), shape (214,).
    """

    open: Array
    closed: Array
    electrons: Array
    spread: Array
    domain: npt.NDArray[np.int64]


@cache
def load_residues() -> Residues:
    """Reads the structures shipped with the package.

    Returns:
        The residues; their arrays are shared by all callers and read-only.
    """
    file = resources.files("cryo_disentangle.physics") / "data" / "residues.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        residues = Residues(
            open=archive["open"].astype(np.float64),
            closed=archive["closed"].astype(np.float64),
            electrons=archive["electrons"].astype(np.float64),
            spread=archive["spread"].astype(np.float64),
            domain=archive["domain"].astype(np.int64),
        )
    for array in residues:
        array.flags.writeable = False
    return residues
