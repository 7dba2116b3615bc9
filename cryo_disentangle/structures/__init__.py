"""Atoms of PDB and mmCIF files in and out, their domains, and the hinges these turn about."""

from cryo_disentangle.structures.atoms import Atoms, read_atoms
from cryo_disentangle.structures.domains import select_domains, select_residues, taper
from cryo_disentangle.structures.hinges import Hinge, find_hinge, screw_displacement, superpose
from cryo_disentangle.structures.writing import write_structures

__all__ = [
    "Atoms",
    "Hinge",
    "find_hinge",
    "read_atoms",
    "screw_displacement",
    "select_domains",
    "select_residues",
    "superpose",
    "taper",
    "write_structures",
]
