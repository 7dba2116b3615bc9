"""Motion of each atom by itself: displacements that networks learn."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["FreeDisplacement"]


class FreeDisplacement(nn.Module):
    """Moves each atom by a learned function of the conformation and of where the atom is.

    x_i(z) = x_i + Σ_r a_r(z) u_r(x_i), two networks whose outputs are multiplied. Any continuous
    function of z and x can be written so with enough terms; a network of both, evaluated at B N
    points instead of B + N, took 40 times as long (1,656 atoms, batch 64). At the start no atom
    moves. Nothing keeps the structure together: see `BondLengths` and `Smoothness`.

    Args:
        positions: Reference structure, shape (N, 3) in Å.
        conformation_dim: Number Z of conformation coordinates.
        rank: Number of terms.
        hidden: Width of both networks.
        layers: Number of residual hidden layers of each.
        finest: Shortest wavelength in Å of the encoding of positions: atoms much nearer to each
            other move alike.

    Attributes:
        reference: The positions, shape (N, 3).

    Raises:
        ValueError: If a size or the wavelength is not positive, or all atoms coincide.

    References:
        Lu et al. 2021, Nat. Mach. Intell. 3:218 (DeepONet), for the form; Schwab et al.
        2024, Nat. Methods 21:1855 (DynaMight), for displacements of Gaussians in cryo-EM.
    """

    reference: Tensor
    features: Tensor

    def __init__(
        self,
        positions: Tensor,
        conformation_dim: int,
        rank: int = 32,
        hidden: int = 128,
        layers: int = 2,
        finest: float = 10.0,
    ) -> None:
        super().__init__()
        if min(conformation_dim, rank) < 1 or not finest > 0:
            raise ValueError(
                "a free displacement needs conformation_dim >= 1, rank >= 1 and finest > 0, found "
                f"conformation_dim={conformation_dim}, rank={rank} and finest={finest}"
            )
        self.register_buffer("reference", positions.detach().clone(), persistent=False)
        self.register_buffer("features", _encode(self.reference, finest), persistent=False)
        self.fields = ResidualMLP(self.features.shape[1], 3 * rank, hidden, layers)
        self.amplitudes = ResidualMLP(conformation_dim, rank, hidden, layers)
        for last in list(self.amplitudes.parameters())[-2:]:
            nn.init.zeros_(last)

    def forward(self, conformation: Tensor) -> Tensor:
        """Places the atoms, in full precision under autocast too.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Positions in Å, shape (B, N, 3).
        """
        with torch.autocast(conformation.device.type, enabled=False):
            fields = self.fields(self.features).unflatten(1, (-1, 3)).transpose(0, 1).flatten(1)
            amplitude = self.amplitudes(conformation.to(self.reference))
            moved = amplitude @ fields + self.reference.flatten()
        return moved.unflatten(1, self.reference.shape)


def _encode(positions: Tensor, finest: float) -> Tensor:
    """Sines and cosines of each coordinate, in octaves from the finest wavelength up."""
    centred = positions - positions.mean(0)
    extent = float(2 * centred.norm(dim=1).max())
    if not extent > 0:
        raise ValueError("a free displacement needs atoms at different places, found all at one")
    octaves = max(math.ceil(math.log2(extent / finest)), 0) + 1
    wavelength = finest * 2.0 ** torch.arange(octaves, device=positions.device)
    phase = (2 * math.pi / wavelength * centred.unsqueeze(-1)).flatten(1)
    return torch.cat([phase.sin(), phase.cos()], dim=1)
