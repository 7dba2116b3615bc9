"""Atoms of PDB and mmCIF files in and out, their domains, and the hinges these turn about."""

from cryo_disentangle.structures.atoms import Atoms, read_atoms
from cryo_disentangle.structures.domains import select_domains, select_residues, taper
from cryo_disentangle.structures.hinges import Hinge, find_hinge, screw_displacement, superpose
from cryo_disentangle.structures.pseudo_atoms import fit_pseudo_atoms, read_pseudo_atoms
from cryo_disentangle.structures.writing import write_structures

__all__ = [
    "Atoms",
    "Hinge",
    "find_hinge",
    "fit_pseudo_atoms",
    "read_atoms",
    "read_pseudo_atoms",
    "screw_displacement",
    "select_domains",
    "select_residues",
    "superpose",
    "taper",
    "write_structures",
]
