"""A real protein with two hinges: adenylate kinase."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.simulation.molecule import GaussianMolecule, Hinge, move_hinges
from cryo_disentangle.simulation.processes import FactorPath

__all__ = ["AdenylateKinase", "adenylate_kinase_path"]

_HINGES = ("nmp", "lid")
_PATHS = ("dims1", "dims2", "gbis_tmd")


def _load() -> dict[str, npt.NDArray[Any]]:
    """Reads the data shipped with the package."""
    file = resources.files("cryo_disentangle.simulation") / "data" / "adk.npz"
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return dict(archive)


@dataclass(frozen=True)
class AdenylateKinase(GaussianMolecule):
    """Adenylate kinase of E. coli, 1,656 heavy atoms, with its NMP and LID hinges.

    Coordinates are (z_nmp, z_lid): (0, 0) is the open structure (PDB 4AKE) and (1, 1) lies 1.68 Å
    (Cα) from the closed one (1AKE). A Gaussian weighs as many electrons as its atom has. The two
    move independently here; in computed transitions they are correlated (`adenylate_kinase_path`).

    Args:
        sigma_angstrom: Standard deviation of every Gaussian in Å.

    Raises:
        ValueError: If it is not positive.
    """

    sigma_angstrom: float = 2.0

    def __post_init__(self) -> None:
        if not self.sigma_angstrom > 0:
            raise ValueError(f"sigma_angstrom must be positive, found {self.sigma_angstrom}")

    @cached_property
    def _data(self) -> dict[str, npt.NDArray[Any]]:
        """The shipped arrays."""
        return _load()

    @property
    def dim(self) -> int:
        """Two hinges."""
        return len(_HINGES)

    @property
    def sigma(self) -> float:
        """Standard deviation of every Gaussian in Å."""
        return self.sigma_angstrom

    @cached_property
    def weights(self) -> Tensor:
        """Atomic numbers, shape (1656,)."""
        return torch.from_numpy(self._data["element"].astype(np.float32))

    @cached_property
    def hinges(self) -> tuple[Hinge, ...]:
        """The hinges of NMP and LID."""
        return tuple(
            Hinge(
                tuple(self._data[f"{name}_axis"].tolist()),
                tuple(self._data[f"{name}_point"].tolist()),
                float(self._data[f"{name}_angle_deg"]),
                float(self._data[f"{name}_shift"]),
            )
            for name in _HINGES
        )

    @cached_property
    def _reference(self) -> Tensor:
        """Coordinates of the open structure, shape (1656, 3)."""
        return torch.from_numpy(self._data["xyz_open"])

    @cached_property
    def _membership(self) -> Tensor:
        """How far each atom follows each hinge, shape (2, 1656)."""
        return torch.from_numpy(np.stack([self._data[f"weight_{name}"] for name in _HINGES]))

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the atoms.

        Args:
            conformation: (z_nmp, z_lid), shape (B, 2).

        Returns:
            Model coordinates (x, y, z) in Å, shape (B, 1656, 3).
        """
        return move_hinges(self._reference, conformation, self.hinges, self._membership)


def adenylate_kinase_path(name: str, spread: float = 0.0) -> FactorPath:
    """Conformations along a computed transition of adenylate kinase, closed to open.

    Args:
        name: ``dims1``, ``dims2`` or ``gbis_tmd``.
        spread: Standard deviation of normal noise about the path.

    Returns:
        The path of (z_nmp, z_lid), a point for each frame.

    Raises:
        ValueError: If there is no such path.
    """
    if name not in _PATHS:
        raise ValueError(f"paths of adenylate kinase are {', '.join(_PATHS)}, found {name!r}")
    return FactorPath(_load()[f"path_{name}"].tolist(), spread)
