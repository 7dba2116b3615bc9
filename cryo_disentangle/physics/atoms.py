"""All atoms of frames of molecular dynamics that know the residues alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import roma
import torch
from torch import Tensor

from cryo_disentangle.physics.frames import DynamicsResidues
from cryo_disentangle.physics.residues import load_residues
from cryo_disentangle.simulation.adenylate_kinase import AdenylateKinase
from cryo_disentangle.simulation.molecule import GaussianMolecule

__all__ = ["DynamicsAtoms"]

# Residues on either side of the one whose atoms move with them.
_NEIGHBOURS = 2


@dataclass(frozen=True)
class DynamicsAtoms(GaussianMolecule):
    """Adenylate kinase as a Gaussian for each heavy atom, moved by the components of trajectories.

    The atoms of a residue are a rigid body that moves with its Cα atom. Its rotation superposes the
    Cα atoms of the residue and of two neighbours on either side of those of the open structure,
    PDB entry 4AKE (Kabsch 1976, Acta Cryst. A32:922). Side chains keep their rotamers; peptide
    bonds between residues are not kept at their length.

    Args:
        sigma_angstrom: Standard deviation of every Gaussian in Å.
        file: Trajectories as `write_trajectories` writes them; none are those of the package.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the standard deviation is not positive.
    """

    sigma_angstrom: float = 2.0
    file: Path | None = None

    def __post_init__(self) -> None:
        _ = self._residues

    @cached_property
    def _residues(self) -> DynamicsResidues:
        """Where the Cα atoms are."""
        return DynamicsResidues(self.sigma_angstrom, self.file)

    @cached_property
    def _atoms(self) -> AdenylateKinase:
        """The open structure."""
        return AdenylateKinase(self.sigma_angstrom)

    @property
    def dim(self) -> int:
        """Number of principal components C."""
        return self._residues.dim

    @property
    def weights(self) -> Tensor:
        """Atomic numbers, shape (1656,)."""
        return self._atoms.weights

    @property
    def sigma(self) -> float:
        """Standard deviation of every Gaussian in Å."""
        return self.sigma_angstrom

    @cached_property
    def _fragments(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Residue of each atom, each atom from its Cα atom; the Cα atoms of fragments, centred."""
        residues = load_residues()
        # Atoms are in the order of residues, whose electrons are known.
        electrons = self.weights.double().cumsum(0)
        residue = torch.searchsorted(torch.tensor(residues.electrons).cumsum(0), electrons)
        reference = torch.tensor(residues.open)
        atoms = self._atoms.centres(torch.zeros(1, 2))[0].double()
        last = len(reference) - 1
        offsets = torch.arange(-_NEIGHBOURS, _NEIGHBOURS + 1)
        members = (torch.arange(last + 1)[:, None] + offsets).clamp(0, last)
        fragments = reference[members]
        return residue, atoms - reference[residue], members, fragments - fragments.mean(1, True)

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the atoms.

        Args:
            conformation: Principal components in Å, shape (B, C).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, 1656, 3).
        """
        alpha = self._residues.centres(conformation)
        residue, arm, members, before = (part.to(alpha.device) for part in self._fragments)
        arm, before = arm.to(alpha), before.to(alpha)
        after = alpha[:, members]
        after = after - after.mean(2, keepdim=True)
        rotation = roma.special_procrustes(after.mT @ before)
        return alpha[:, residue] + (rotation[:, residue] @ arm[..., None])[..., 0]
