"""Simulated molecules at rest as structures, for decoders that begin from one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.simulation.adenylate_kinase import AdenylateKinase
from cryo_disentangle.simulation.configuration import load_molecule
from cryo_disentangle.simulation.molecule import GaussianMolecule
from cryo_disentangle.structures.atoms import Atoms

__all__ = ["resting_atoms", "resting_structure"]

_NITROGEN, _LONGEST_BOND_ANGSTROM = 7, 1.7


def resting_structure(folder: Path) -> Atoms:
    """Reads the molecule of a simulated stack as it is at coordinates 0.

    Args:
        folder: What ``cryo-disentangle simulate`` has written, or its ``molecule.yaml``.

    Returns:
        Its atoms; see `resting_atoms`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file does not describe a molecule, or one that is not made of Gaussians.
    """
    molecule, _ = load_molecule(folder)
    if not isinstance(molecule, GaussianMolecule):
        raise ValueError(
            f"{folder}: a molecule made of Gaussians expected, found {type(molecule).__name__}"
        )
    return resting_atoms(molecule)


def resting_atoms(molecule: GaussianMolecule) -> Atoms:
    """Lists the Gaussians of a molecule at coordinates 0.

    Args:
        molecule: The molecule.

    Returns:
        Chain A about the centre of the box. Adenylate kinase has its residues' numbers; of other
        molecules every Gaussian is a pseudo-atom, numbered from 1.
    """
    position = molecule.centres(torch.zeros(1, molecule.dim))[0].double().numpy()
    weights = molecule.weights.double().numpy()
    count = len(position)
    real = isinstance(molecule, AdenylateKinase)
    elements = weights.astype(np.int64) if real else np.zeros(count, dtype=np.int64)
    return Atoms(
        Path(type(molecule).__name__),
        position,
        elements,
        np.full(count, "A"),
        _number_residues(elements, position) if real else np.arange(1, count + 1),
        np.full(count, "X" if real else "DUM"),
        np.full(count, "UNK" if real else "DUM"),
        np.full(count, " "),
        weights,
        np.full(count, 100.0),
    )


def _number_residues(
    elements: npt.NDArray[np.int64], position: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Finds residues by the bonds of the backbone.

    Atoms come as N, CA, side chain, C, O: a nitrogen bound to the atom two before it and to the
    next begins a residue, which that at the end of asparagine's side chain is not.
    """
    begins = np.zeros(len(elements), dtype=np.int64)
    begins[0] = 1
    before, after = (
        np.linalg.norm(one - other, axis=1) < _LONGEST_BOND_ANGSTROM
        for one, other in ((position[2:-1], position[:-3]), (position[3:], position[2:-1]))
    )
    begins[2:-1] = (elements[2:-1] == _NITROGEN) & before & after
    return begins.cumsum()
