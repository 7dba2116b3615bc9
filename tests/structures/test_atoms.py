"""Atoms in and out of PDB and mmCIF files."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import gemmi
import numpy as np
import pytest

from cryo_disentangle.structures import read_atoms, write_structures
from cryo_disentangle.structures.atoms import Atoms
from tests.helpers import shared

FILE = """\
ATOM      1  N   ALA A   1      10.000  12.000  13.000  1.00 10.00           N
ATOM      2  CA AALA A   1      11.000  12.000  13.000  0.40 11.00           C
ATOM      3  CA BALA A   1      11.500  12.000  13.000  0.60 12.00           C
ATOM      4  CB AALA A   1      11.000  13.000  13.000  0.40 13.00           C
ATOM      5  CB BALA A   1      11.500  13.500  13.000  0.60 14.00           C
ATOM      6  HB1 ALA A   1      11.500  13.500  13.000  1.00 14.00           H
ATOM      7  CA  GLY A   1A     15.000  14.000  13.000  1.00 15.00
ATOM      8  O  AGLY A   1A     16.000  14.000  13.000  0.50 16.00           O
ATOM      9  O  BGLY A   1A     17.000  14.000  13.000  0.50 17.00           O
HETATM   10 ZN    ZN B   7      20.000  14.000  13.000  1.00 18.00          ZN
HETATM   11  O   HOH B   8      21.000  14.000  13.000  1.00 19.00           O
HETATM   12  X   DUM C   1      22.000  14.000  13.000  2.50 20.00           X
END
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "made.pdb"
    path.write_text(FILE)
    return path


def test_alternatives_of_the_highest_occupancy_are_taken(file: Path) -> None:
    atoms = read_atoms(file)
    assert atoms.name.tolist() == ["N", "CA", "CB", "CA", "O", "ZN", "X"]
    assert atoms.position[:, 0].tolist() == [10, 11.5, 11.5, 15, 16, 20, 22]
    assert atoms.b_factor.tolist() == [10, 12, 14, 15, 16, 18, 20]


def test_labels_and_electrons(file: Path) -> None:
    atoms = read_atoms(file)
    assert atoms.element.tolist() == [7, 6, 6, 6, 8, 30, 0]
    # A missing element is told by the atom's name; a pseudo-atom has its density as occupancy.
    assert atoms.electrons.tolist() == [7, 6, 6, 6, 8, 30, 2.5]
    assert atoms.chain.tolist() == ["A"] * 5 + ["B", "C"]
    assert atoms.insertion.tolist() == [" "] * 3 + ["A"] * 2 + [" "] * 2
    assert atoms.residue_name.tolist() == ["ALA"] * 3 + ["GLY"] * 2 + ["ZN", "DUM"]
    expected = np.average(atoms.position, axis=0, weights=[7, 6, 6, 6, 8, 30, 2.5])
    np.testing.assert_allclose(atoms.centre, expected)


def test_residues_are_gathered(file: Path) -> None:
    residues = read_atoms(file).by_residue()
    assert residues.name.tolist() == ["CA", "CA", "ZN", "X"]
    assert residues.electrons.tolist() == [19, 14, 30, 2.5]
    without = read_atoms(file)
    without = without.take(without.name != "CA").by_residue()
    assert without.name.tolist() == ["N", "O", "ZN", "X"]


@pytest.mark.parametrize("suffix", [".pdb", ".cif"])
def test_what_is_written_is_read(file: Path, tmp_path: Path, suffix: str) -> None:
    atoms = read_atoms(file)
    moved = tmp_path / f"moved{suffix}"
    write_structures(moved, atoms, np.stack([atoms.position, atoms.position + 1]))
    again = read_atoms(moved)
    for field in fields(Atoms):
        if field.name != "file":
            np.testing.assert_array_equal(getattr(again, field.name), getattr(atoms, field.name))
    structure = gemmi.read_structure(str(moved))
    assert len(structure) == 2
    second = np.array([cra.atom.pos.tolist() for cra in structure[1].all()])
    np.testing.assert_allclose(second, atoms.position + 1, atol=1e-3)
    heteroatoms = [cra.atom.name for cra in structure[0].all() if cra.residue.het_flag == "H"]
    assert heteroatoms == ["ZN", "X"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["made.pdb", moved.name]


def test_a_protein_stays_a_polymer(tmp_path: Path) -> None:
    atoms = read_atoms(shared("data/adk/adk_open.pdb"))
    write_structures(tmp_path / "moved.cif", atoms, atoms.position[None])
    structure = gemmi.read_structure(str(tmp_path / "moved.cif"))
    structure.setup_entities()
    assert len(structure[0]["A"].get_polymer()) == 214


def test_what_cannot_be_written_is_refused(file: Path, tmp_path: Path) -> None:
    atoms = read_atoms(file)
    positions = atoms.position[None]
    with pytest.raises(ValueError, match=r"written as \.pdb or \.cif, found '\.xyz'"):
        write_structures(tmp_path / "moved.xyz", atoms, positions)
    with pytest.raises(ValueError, match=r"must have shape \(S, 7, 3\), found \(7, 3\)"):
        write_structures(tmp_path / "moved.cif", atoms, positions[0])
    with pytest.raises(FileNotFoundError, match=r"cannot write moved\.cif: folder .* does not"):
        write_structures(tmp_path / "none/moved.cif", atoms, positions)
    long = replace(atoms, chain=np.full(7, "ABC"))
    with pytest.raises(ValueError, match=r"at most 2 letters, found 3; write \.cif"):
        write_structures(tmp_path / "moved.pdb", long, positions)
    write_structures(tmp_path / "moved.cif", long, positions)
    assert read_atoms(tmp_path / "moved.cif").chain.tolist() == ["ABC"] * 7


def test_missing_elements_are_refused(file: Path) -> None:
    file.write_text(FILE.replace("DUM C", "LIG C"))
    with pytest.raises(ValueError, match=r"made\.pdb: atom X of residue C:1 has no element"):
        read_atoms(file)


def test_bad_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.pdb: no such file"):
        read_atoms(tmp_path / "none.pdb")
    (tmp_path / "empty.pdb").write_text("REMARK nothing\n")
    with pytest.raises(ValueError, match="a structure with heavy atoms expected, found none"):
        read_atoms(tmp_path / "empty.pdb")
    (tmp_path / "bad.cif").write_text("this is no mmCIF")
    with pytest.raises(ValueError, match=r"bad\.cif: not a readable structure"):
        read_atoms(tmp_path / "bad.cif")
