"""Any structure whose domains turn about hinges."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.simulation.molecule import GaussianMolecule, move_hinges
from cryo_disentangle.structures import read_atoms
from cryo_disentangle.structures.atoms import Atoms
from cryo_disentangle.structures.domains import select_domains, taper
from cryo_disentangle.structures.hinges import Hinge, find_hinge, superpose

__all__ = ["RigidDomains"]


@dataclass(frozen=True, eq=False)
class RigidDomains(GaussianMolecule):
    """A structure whose domains turn about hinges, a Gaussian for each heavy atom.

    Made by `from_structure` or `from_conformers`.

    Args:
        reference: Positions at conformation 0 in Å, shape (N, 3).
        elements: Atomic numbers, which are the integrated densities, shape (N,).
        hinges: One for each domain; coordinate 1 is its full motion.
        membership: How far each atom follows each hinge, 0 to 1, shape (K, N).
        sigma_angstrom: Standard deviation of every Gaussian in Å.
        origin: Name and arguments of the method that made it, for configurations.

    Raises:
        ValueError: If ``sigma_angstrom`` is not positive.
    """

    reference: Tensor
    elements: Tensor
    hinges: tuple[Hinge, ...]
    membership: Tensor
    sigma_angstrom: float
    origin: tuple[str, dict[str, Any]] | None = None

    def __post_init__(self) -> None:
        if not self.sigma_angstrom > 0:
            raise ValueError(f"sigma_angstrom must be positive, found {self.sigma_angstrom}")

    @classmethod
    def from_structure(
        cls,
        structure: Path,
        domains: dict[str, str],
        hinges: dict[str, Hinge],
        sigma_angstrom: float = 2.0,
        ramp_residues: int = 3,
    ) -> RigidDomains:
        """Takes hinges as given.

        Coordinates are moved so that the centre of the core's mass is the origin, and hinges are
        in the file's coordinates.

        Args:
            structure: PDB or mmCIF file.
            domains: Residue ranges by name of the moving domain: ``30-59``, ``A:30-59,70``. What is
                in none of them is the fixed core.
            hinges: The hinge of each domain, by the same names.
            sigma_angstrom: Standard deviation of every Gaussian in Å.
            ramp_residues: Residues over which a domain's weight ramps at its ends.

        Returns:
            The molecule, of as many coordinates as domains.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If domains are unknown or overlap, or hinges are not those of the domains.
        """
        if set(hinges) != set(domains):
            raise ValueError(
                f"one hinge for each of domains {sorted(domains)} expected, found {sorted(hinges)}"
            )
        atoms = read_atoms(structure)
        masks = select_domains(atoms, domains)
        arguments = {
            "structure": structure,
            "domains": domains,
            "hinges": {name: vars(hinge) for name, hinge in hinges.items()},
            "sigma_angstrom": sigma_angstrom,
            "ramp_residues": ramp_residues,
        }
        ordered = [hinges[name] for name in domains]
        origin = ("from_structure", arguments)
        return cls._build(atoms, masks, ordered, sigma_angstrom, ramp_residues, origin)

    @classmethod
    def from_conformers(
        cls,
        structure: Path,
        target: Path,
        domains: dict[str, str],
        sigma_angstrom: float = 2.0,
        ramp_residues: int = 3,
    ) -> RigidDomains:
        """Finds the hinges that take one structure to another.

        The target is superposed by the core, and the remaining rigid motion of each domain, fitted
        on Cα (P in nucleic acids), is its hinge: coordinate 0 is the structure and 1 the target.

        Args:
            structure: PDB or mmCIF file.
            target: Another conformer, with the same numbering of chains and residues.
            domains: As for `from_structure`.
            sigma_angstrom: Standard deviation of every Gaussian in Å.
            ramp_residues: Residues over which a domain's weight ramps at its ends.

        Returns:
            The molecule, of as many coordinates as domains.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If domains are unknown or overlap, the structures have too few residues in
                common, or a domain does not turn.
        """
        atoms, other = read_atoms(structure), read_atoms(target)
        masks = select_domains(atoms, domains)
        here, there = _common_backbone(atoms, other)
        core = ~masks[:, here].any(axis=0)
        if core.sum() < 3:
            raise ValueError(
                f"{structure} and {target}: three or more residues of the core in common expected, "
                f"found {core.sum()}"
            )
        start, end = atoms.position[here], other.position[there]
        rotation, translation = superpose(end[core], start[core])
        end = end @ rotation.T + translation
        found = [
            find_hinge(name, start[mask[here]], end[mask[here]])
            for name, mask in zip(domains, masks, strict=True)
        ]
        arguments = {
            "structure": structure,
            "target": target,
            "domains": domains,
            "sigma_angstrom": sigma_angstrom,
            "ramp_residues": ramp_residues,
        }
        origin = ("from_conformers", arguments)
        return cls._build(atoms, masks, found, sigma_angstrom, ramp_residues, origin)

    @classmethod
    def _build(
        cls,
        atoms: Atoms,
        masks: npt.NDArray[np.bool_],
        hinges: list[Hinge],
        sigma_angstrom: float,
        ramp_residues: int,
        origin: tuple[str, dict[str, Any]],
    ) -> RigidDomains:
        """Centres the core on the origin and tapers the domains."""
        fixed = ~masks.any(axis=0)
        centre = np.average(atoms.position[fixed], axis=0, weights=atoms.element[fixed])
        moved = tuple(
            Hinge(
                hinge.axis,
                tuple((np.asarray(hinge.point) - centre).tolist()),
                hinge.angle_deg,
                hinge.shift,
            )
            for hinge in hinges
        )
        membership = np.stack([taper(atoms, mask, ramp_residues) for mask in masks])
        return cls(
            torch.from_numpy((atoms.position - centre).astype(np.float32)),
            torch.from_numpy(atoms.element.astype(np.float32)),
            moved,
            torch.from_numpy(membership),
            sigma_angstrom,
            origin,
        )

    @property
    def dim(self) -> int:
        """Number of moving domains."""
        return len(self.hinges)

    @property
    def weights(self) -> Tensor:
        """Atomic numbers, shape (N,)."""
        return self.elements

    @property
    def sigma(self) -> float:
        """Standard deviation of every Gaussian in Å."""
        return self.sigma_angstrom

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the atoms.

        Args:
            conformation: One coordinate for each domain, shape (B, K).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, N, 3).
        """
        return move_hinges(self.reference, conformation, self.hinges, self.membership)


def _common_backbone(
    first: Atoms, second: Atoms
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Backbone atoms of the residues that two structures share, in the same order."""
    keys = []
    for atoms in (first, second):
        rows = np.flatnonzero(atoms.backbone)
        keys.append({(atoms.chain[i], atoms.residue[i], atoms.name[i]): i for i in rows})
    common = [key for key in keys[0] if key in keys[1]]
    return (
        np.array([keys[0][key] for key in common], dtype=np.int64),
        np.array([keys[1][key] for key in common], dtype=np.int64),
    )
