"""Atoms of PDB and mmCIF files, their domains, and the hinges between two conformers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import gemmi
import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cryo_disentangle.simulation.molecule import Hinge

__all__ = ["Atoms", "find_hinge", "read_atoms", "select_domains", "superpose", "taper"]

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_RANGE = re.compile(r"^(?:(?P<chain>\w+):)?(?P<first>-?\d+)(?:-(?P<last>-?\d+))?$")
_SMALLEST_ANGLE_DEG = 0.1


@dataclass(frozen=True, eq=False)
class Atoms:
    """Heavy atoms of a structure.

    Attributes:
        file: Where they come from.
        position: (x, y, z) in Å, shape (N, 3).
        element: Atomic number, shape (N,).
        chain: Name of the chain, shape (N,).
        residue: Residue number, shape (N,).
        name: Name of the atom (``CA``), shape (N,).
    """

    file: Path
    position: Array
    element: npt.NDArray[np.int64]
    chain: npt.NDArray[np.str_]
    residue: npt.NDArray[np.int64]
    name: npt.NDArray[np.str_]

    @property
    def backbone(self) -> Mask:
        """One atom for each residue to fit on: Cα of proteins, P of nucleic acids."""
        return np.isin(self.name, ["CA", "P"]) & np.isin(self.element, [6, 15])


def read_atoms(file: Path) -> Atoms:
    """Reads the first model of a structure, without hydrogens, water and alternative positions.

    Args:
        file: PDB or mmCIF file, or either gzipped.

    Returns:
        Its atoms.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file holds no atoms.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"{file}: no such file")
    try:
        structure = gemmi.read_structure(str(file))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{file}: not a readable structure: {error}") from error
    structure.remove_alternative_conformations()
    structure.remove_hydrogens()
    structure.remove_waters()
    found = list(structure[0].all()) if len(structure) else []
    if not found:
        raise ValueError(f"{file}: a structure with heavy atoms expected, found none")
    return Atoms(
        Path(file),
        np.array([cra.atom.pos.tolist() for cra in found]),
        np.array([cra.atom.element.atomic_number for cra in found]),
        np.array([cra.chain.name for cra in found]),
        np.array([cra.residue.seqid.num for cra in found]),
        np.array([cra.atom.name for cra in found]),
    )


def _extent(atoms: Atoms) -> str:
    """First and last residue of each chain, for messages."""
    numbers = {chain: atoms.residue[atoms.chain == chain] for chain in np.unique(atoms.chain)}
    return ", ".join(f"{chain}:{found.min()}-{found.max()}" for chain, found in numbers.items())


def _select(atoms: Atoms, name: str, ranges: str) -> Mask:
    """Atoms of one domain."""
    chosen = np.zeros(len(atoms.residue), dtype=bool)
    for text in ranges.split(","):
        match = _RANGE.match(text.strip())
        if match is None:
            raise ValueError(
                f"domain {name}: residue ranges look like 30-59 or A:30-59,70, found {text!r}"
            )
        first = int(match["first"])
        last = first if match["last"] is None else int(match["last"])
        inside = (atoms.residue >= first) & (atoms.residue <= last)
        if match["chain"] is not None:
            inside &= atoms.chain == match["chain"]
        if not inside.any():
            raise ValueError(
                f"{atoms.file}: domain {name} names residues {text.strip()}, which are not there "
                f"(found {_extent(atoms)})"
            )
        chosen |= inside
    return chosen


def select_domains(atoms: Atoms, domains: Mapping[str, str]) -> npt.NDArray[np.bool_]:
    """Finds the atoms of each moving domain.

    Args:
        atoms: The structure.
        domains: Residue ranges by name of the domain: ``30-59``, ``A:30-59,70``. What is in none
            of them is the core.

    Returns:
        Shape (K, N), one row for each domain.

    Raises:
        ValueError: If a range cannot be read or names no residue, domains overlap, there is none,
            or nothing is left for the core.
    """
    if not domains:
        raise ValueError("at least one moving domain is needed, found none")
    chosen = {name: _select(atoms, name, ranges) for name, ranges in domains.items()}
    names = list(chosen)
    for i, first in enumerate(names):
        for second in names[i + 1 :]:
            both = chosen[first] & chosen[second]
            if both.any():
                residue = f"{atoms.chain[both][0]}:{atoms.residue[both][0]}"
                raise ValueError(f"domains {first} and {second} overlap, at residue {residue}")
    masks = np.stack(list(chosen.values()))
    if masks.any(axis=0).all():
        raise ValueError("the domains take every atom, and none is left for the core")
    return masks


def taper(atoms: Atoms, domain: Mask, residues: int) -> npt.NDArray[np.float32]:
    """Lets the weight of a domain fall off linearly along the chain, which keeps it together.

    Args:
        atoms: The structure.
        domain: Atoms of the domain, shape (N,).
        residues: Reach of the ramp on either side of each end of the domain; 0 for none.

    Returns:
        Weights from 0 to 1, shape (N,): 1/2 between the last residue inside and the first outside.
    """
    weight = domain.astype(np.float32)
    if residues == 0:
        return weight
    for chain in np.unique(atoms.chain[domain]):
        here = atoms.chain == chain
        numbers, first = np.unique(atoms.residue[here], return_index=True)
        inside = domain[here][first]
        turns = np.flatnonzero(inside[1:] != inside[:-1])
        if not len(turns):
            continue
        ends = (numbers[turns] + numbers[turns + 1]) / 2
        distance = np.abs(atoms.residue[here][:, None] - ends).min(axis=1) / (2 * residues)
        weight[here] = np.clip(0.5 + np.where(domain[here], distance, -distance), 0, 1)
    return weight


def superpose(moving: Array, fixed: Array) -> tuple[Array, Array]:
    """Finds the rigid motion that brings points closest to others.

    Args:
        moving: Shape (N, 3).
        fixed: Shape (N, 3).

    Returns:
        R and t of moving @ R.T + t, shapes (3, 3) and (3,).

    References:
        Kabsch 1976.
    """
    from_centre, to_centre = moving.mean(axis=0), fixed.mean(axis=0)
    rotation, _ = Rotation.align_vectors(fixed - to_centre, moving - from_centre)
    matrix = rotation.as_matrix()
    return matrix, to_centre - matrix @ from_centre


def find_hinge(name: str, before: Array, after: Array) -> Hinge:
    """Describes the rigid motion of a domain as a screw.

    Args:
        name: Name of the domain, for the message.
        before: Positions in Å, shape (N, 3).
        after: The same atoms moved, the core being superposed, shape (N, 3).

    Returns:
        The hinge whose coordinate 1 is the motion, its point beside the domain's centre.

    Raises:
        ValueError: If there are fewer than three atoms, or the domain hardly turns.

    References:
        Chasles' theorem; Hayward and Berendsen 1998, DynDom.
    """
    if len(before) < 3:
        raise ValueError(
            f"domain {name}: three or more residues to fit on expected, found {len(before)}"
        )
    matrix, translation = superpose(before, after)
    vector = Rotation.from_matrix(matrix).as_rotvec(degrees=True)
    angle = float(np.linalg.norm(vector))
    if angle < _SMALLEST_ANGLE_DEG:
        raise ValueError(
            f"domain {name} turns by {angle:.2g} degrees between the conformers: it has no hinge"
        )
    axis = vector / angle
    shift = float(translation @ axis)
    # Points of the axis only slide along it: (1 - R) p = t - shift axis, of which the smallest
    # solution is moved along the axis to the domain.
    point = np.linalg.lstsq(np.eye(3) - matrix, translation - shift * axis, rcond=1e-9)[0]
    point += axis * (axis @ (before.mean(axis=0) - point))
    return Hinge(tuple(axis.tolist()), tuple(point.tolist()), angle, shift)
