"""Atoms of PDB and mmCIF files."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import numpy.typing as npt

__all__ = ["Atoms", "read_atoms"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

# The component of the PDB for dummy atoms; their occupancy is their integrated density.
_PSEUDO_ATOM = "DUM"


@dataclass(frozen=True, eq=False)
class Atoms:
    """Heavy atoms of a structure, or pseudo-atoms.

    Attributes:
        file: Where they come from.
        position: (x, y, z) in Å, shape (N, 3).
        element: Atomic number, 0 for a pseudo-atom, shape (N,).
        chain: Name of the chain, shape (N,).
        residue: Residue number, shape (N,).
        name: Name of the atom (``CA``), shape (N,).
        residue_name: Name of the residue (``ALA``), shape (N,).
        insertion: Insertion code of the residue or a blank, shape (N,).
        electrons: Integrated density, an atom's atomic number, shape (N,).
        b_factor: Isotropic B factor in Å², 8 π² times a Gaussian's variance, shape (N,).
    """

    file: Path
    position: Array
    element: npt.NDArray[np.int64]
    chain: npt.NDArray[np.str_]
    residue: npt.NDArray[np.int64]
    name: npt.NDArray[np.str_]
    residue_name: npt.NDArray[np.str_]
    insertion: npt.NDArray[np.str_]
    electrons: Array
    b_factor: Array

    def __len__(self) -> int:
        return len(self.position)

    @property
    def backbone(self) -> Mask:
        """One atom for each residue to fit on: Cα of proteins, P of nucleic acids."""
        return np.isin(self.name, ["CA", "P"]) & np.isin(self.element, [6, 15])

    @property
    def centre(self) -> Array:
        """Centre of the integrated density, of pseudo-atoms their map's, 0; shape (3,)."""
        if not self.element.any():
            return np.zeros(3)
        return np.average(self.position, axis=0, weights=self.electrons)

    def take(self, chosen: Mask | npt.NDArray[np.int64]) -> Atoms:
        """Takes some of the atoms.

        Args:
            chosen: Mask of shape (N,), or indices.

        Returns:
            Those atoms.
        """
        kept = {
            field.name: getattr(self, field.name)[chosen]
            for field in fields(self)
            if field.name != "file"
        }
        return replace(self, **kept)

    def by_residue(self) -> Atoms:
        """Gathers each residue in one atom.

        Returns:
            The atom of the backbone of each residue, or, where it has none, the atom nearest to its
            centre, with the electrons of the whole residue.
        """
        keys = list(zip(self.chain, self.residue, self.insertion, strict=True))
        members: dict[tuple[Any, ...], list[int]] = defaultdict(list)
        for row, key in enumerate(keys):
            members[key].append(row)
        backbone = self.backbone
        chosen, electrons = [], []
        for rows in members.values():
            fitting = [row for row in rows if backbone[row]]
            away = np.linalg.norm(self.position[rows] - self.position[rows].mean(axis=0), axis=1)
            chosen.append(fitting[0] if fitting else rows[int(away.argmin())])
            electrons.append(self.electrons[rows].sum())
        return replace(self.take(np.array(chosen)), electrons=np.array(electrons))


def read_atoms(file: Path) -> Atoms:
    """Reads the first model of a structure, without hydrogens and water.

    Where a residue has alternative positions, those of the highest total occupancy are taken and
    weigh as much as any other atom. An atom X of a residue DUM is a pseudo-atom; its occupancy is
    its integrated density.

    Args:
        file: PDB or mmCIF file, or either gzipped.

    Returns:
        Its atoms.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no atoms, or an atom whose element is given neither by its
            column nor by its name.
    """
    structure = _heavy_atoms(file)
    found = _likeliest(list(structure[0].all())) if len(structure) else []
    if not found:
        raise ValueError(f"{file}: a structure with heavy atoms expected, found none")
    _check_elements(found, file)
    elements = np.array([cra.atom.element.atomic_number for cra in found])
    occupancy = np.array([cra.atom.occ for cra in found])
    return Atoms(
        Path(file),
        np.array([cra.atom.pos.tolist() for cra in found]),
        elements,
        np.array([cra.chain.name for cra in found]),
        np.array([cra.residue.seqid.num for cra in found]),
        np.array([cra.atom.name for cra in found]),
        np.array([cra.residue.name for cra in found]),
        np.array([cra.residue.seqid.icode for cra in found]),
        np.where(elements == 0, occupancy, elements).astype(float),
        np.array([cra.atom.b_iso for cra in found]),
    )


def _heavy_atoms(file: Path) -> gemmi.Structure:
    """A structure without hydrogens and water."""
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        structure = gemmi.read_structure(str(file))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: not a readable structure: {error}") from error
    structure.remove_hydrogens()
    structure.remove_waters()
    return structure


def _check_elements(found: list[gemmi.CRA], file: Path) -> None:
    for cra in found:
        if cra.atom.element.atomic_number == 0 and cra.residue.name != _PSEUDO_ATOM:
            raise ValueError(
                f"{file}: atom {cra.atom.name} of residue {cra.chain.name}:{cra.residue.seqid} has "
                "no element, and its name tells none (pseudo-atoms are atoms X of residues DUM)"
            )


def _likeliest(found: list[gemmi.CRA]) -> list[gemmi.CRA]:
    """Keeps of each residue's alternative positions those of the highest total occupancy."""
    totals: dict[tuple[str, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for cra in found:
        if cra.atom.has_altloc():
            key = cra.chain.name, str(cra.residue.seqid)
            totals[key][cra.atom.altloc] += cra.atom.occ
    # Ties go to the first letter, whatever the order in the file.
    best = {key: min(letters, key=lambda a: (-letters[a], a)) for key, letters in totals.items()}
    return [
        cra
        for cra in found
        if not cra.atom.has_altloc()
        or best[cra.chain.name, str(cra.residue.seqid)] == cra.atom.altloc
    ]
