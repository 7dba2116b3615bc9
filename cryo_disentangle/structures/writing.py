"""Structures of several conformations as multi-model PDB and mmCIF files."""

from __future__ import annotations

from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.structures.atoms import Atoms

__all__ = ["write_structures"]


def write_structures(file: Path, atoms: Atoms, positions: npt.NDArray[np.floating]) -> None:
    """Writes one model for each conformation, which viewers play as a trajectory.

    Chains, residues, names and B factors are those of the atoms. What is no residue of a polymer,
    and so pseudo-atoms, are HETATM records; the occupancy of a pseudo-atom is its integrated
    density.

    Args:
        file: File to write; its suffix, ``.pdb`` or ``.cif``, tells the format.
        atoms: The structure.
        positions: Coordinates of S conformations in Å, shape (S, N, 3).

    Raises:
        FileNotFoundError: If the folder does not exist.
        ValueError: If the suffix is another, the shape is, or the PDB format cannot hold a name.
    """
    file = Path(file)
    if file.suffix not in (".pdb", ".cif"):
        raise ValueError(f"{file}: structures are written as .pdb or .cif, found {file.suffix!r}")
    if positions.ndim != 3 or positions.shape[1:] != (len(atoms), 3):
        raise ValueError(
            f"positions of {len(atoms)} atoms must have shape (S, {len(atoms)}, 3), "
            f"found {positions.shape}"
        )
    longest = max(map(len, atoms.chain))
    if file.suffix == ".pdb" and longest > 2:
        raise ValueError(
            f"{file}: chains of the PDB format have names of at most 2 letters, found {longest}; "
            "write .cif"
        )
    structure = gemmi.Structure()
    for number, conformation in enumerate(positions, start=1):
        structure.add_model(_model(number, atoms, conformation))
    structure.setup_entities()
    structure.assign_label_seq_id()
    with replacing(file) as temporary:
        if file.suffix == ".pdb":
            structure.write_pdb(str(temporary))
        else:
            structure.make_mmcif_document().write_file(str(temporary))


def _model(number: int, atoms: Atoms, positions: npt.NDArray[np.floating]) -> gemmi.Model:
    """One conformation."""
    try:
        model = gemmi.Model(number)
    except TypeError:
        # Before version 0.7 of gemmi models had names.
        model = gemmi.Model(str(number))  # type: ignore[arg-type]
    labels = list(zip(atoms.chain, atoms.residue, atoms.insertion, atoms.residue_name, strict=True))
    for row, label in enumerate(labels):
        new_chain = row == 0 or label[0] != labels[row - 1][0]
        if new_chain:
            model.add_chain(gemmi.Chain(str(label[0])))
        if new_chain or label != labels[row - 1]:
            model[-1].add_residue(_residue(label))
        model[-1][-1].add_atom(_atom(atoms, row, positions[row]))
    return model


def _residue(label: tuple[np.str_, np.int64, np.str_, np.str_]) -> gemmi.Residue:
    """A residue without its atoms."""
    _, number, insertion, name = label
    residue = gemmi.Residue()
    residue.name = str(name)
    residue.seqid = gemmi.SeqId(int(number), str(insertion))
    residue.het_flag = "A" if gemmi.find_tabulated_residue(residue.name).is_standard() else "H"
    return residue


def _atom(atoms: Atoms, row: int, position: npt.NDArray[np.floating]) -> gemmi.Atom:
    """One atom where it has moved to."""
    atom = gemmi.Atom()
    atom.name = str(atoms.name[row])
    atom.element = gemmi.Element(int(atoms.element[row]))
    atom.pos = gemmi.Position(*map(float, position))
    atom.b_iso = float(atoms.b_factor[row])
    atom.occ = 1.0 if atoms.element[row] else float(atoms.electrons[row])
    return atom
