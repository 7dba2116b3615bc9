"""Atoms of PDB and mmCIF files in and out, their domains, and the hinges these turn about."""

from cryo_disentangle.structures.atoms import read_atoms
from cryo_disentangle.structures.pseudo_atoms import fit_pseudo_atoms, read_pseudo_atoms
from cryo_disentangle.structures.writing import write_structures

__all__ = [
    "fit_pseudo_atoms",
    "read_atoms",
    "read_pseudo_atoms",
    "write_structures",
]
