"""The contrast of a molecule against the ice around it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from cryo_disentangle.simulation.molecule import GaussianMolecule

__all__ = ["InSolvent"]


@dataclass(frozen=True)
class InSolvent(GaussianMolecule):
    """A molecule in vitreous ice, of which it displaces some.

    Every Gaussian is accompanied by a wider, negative one: the ice that the atom displaces.
    Density at low resolution, that of the whole particle, is lowered by ``displaced``, and detail
    is not.

    Args:
        molecule: What is embedded.
        displaced: Density of displaced ice over density of the molecule, at least 0 and less than
            1; protein in ice has about 0.7 (0.94 against 1.35 g/cm³).
        blur_angstrom: Added in quadrature to the standard deviation of the displaced ice, in Å.

    Raises:
        ValueError: If ``displaced`` is out of range or the blur is negative.
    """

    molecule: GaussianMolecule
    displaced: float = 0.7
    blur_angstrom: float = 3.0

    def __post_init__(self) -> None:
        if not 0 <= self.displaced < 1 or self.blur_angstrom < 0:
            raise ValueError(
                "displaced must be in [0, 1) and blur_angstrom not negative, found "
                f"{self.displaced} and {self.blur_angstrom}"
            )

    @property
    def dim(self) -> int:
        """Number of conformational coordinates K."""
        return self.molecule.dim

    @cached_property
    def weights(self) -> Tensor:
        """Densities of the molecule, then of the displaced ice, shape (2 N,)."""
        return torch.cat([self.molecule.weights, -self.displaced * self.molecule.weights])

    @cached_property
    def sigma(self) -> Tensor:
        """Standard deviations in Å, shape (2 N,)."""
        own = torch.as_tensor(self.molecule.sigma).expand(len(self.molecule.weights))
        return torch.cat([own, (own.square() + self.blur_angstrom**2).sqrt()])

    def centres(self, conformation: Tensor) -> Tensor:
        """Places the Gaussians, shape (B, 2 N, 3)."""
        centres = self.molecule.centres(conformation)
        return torch.cat([centres, centres], dim=1)
