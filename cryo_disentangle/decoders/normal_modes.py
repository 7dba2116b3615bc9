"""Motion along the normal modes of an elastic network: what a structure does most easily."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders.elastic_network import elastic_network_modes
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["NormalModes"]


class NormalModes(nn.Module):
    """Moves atoms along the softest normal modes of their elastic network.

    x_i(z) = x_i + Σ_k a_k(z) u_ik, with u_k of unit RMSD, so that a_k is an RMSD in Å. Without
    ``modes``, coordinate k is the amplitude of mode k: a_k = s_k z_k with a learnable s_k. With
    more modes than coordinates, a(z) is a linear map, or a network where ``hidden`` > 0. All begin
    with the scales of thermal motion, 1 / √stiffness, the softest mode moving ``amplitude``.

    Args:
        positions: Reference structure, shape (N, 3) in Å.
        conformation_dim: Number Z of conformation coordinates.
        modes: Number K of modes; null is one for each coordinate.
        amplitude: RMSD in Å along the softest mode for a unit of z, at the start.
        cutoff: Reach of the springs in Å; null is 4 times the usual distance between neighbours,
            15 Å for Cα atoms.
        power: Springs weaken with distance as d^(-power); 0 makes them all equal.
        hidden: Width of the network a(z); 0 makes it linear.
        layers: Number of residual hidden layers of the network; not read where it is linear.

    Attributes:
        reference: The positions, shape (N, 3).
        displacements: The modes u, shape (K, N, 3).
        scale: Initial amplitude of each mode in Å, shape (K,).

    Raises:
        ValueError: If there are fewer modes than coordinates, a network without modes, or the
            structure has no such modes (`elastic_network_modes`).

    References:
        Atilgan et al. 2001, Biophys. J. 80:505; Hamitouche and Jonić 2022, Front. Mol.
        Biosci. 9:965645 (DeepHEMNMA), for images.
    """

    reference: Tensor
    displacements: Tensor
    scale: Tensor

    def __init__(
        self,
        positions: Tensor,
        conformation_dim: int,
        modes: int | None = None,
        amplitude: float = 2.0,
        cutoff: float | None = None,
        power: float = 2.0,
        hidden: int = 0,
        layers: int = 1,
    ) -> None:
        super().__init__()
        count = conformation_dim if modes is None else modes
        if count < conformation_dim:
            raise ValueError(
                f"normal modes need modes >= conformation_dim, found modes={count} and "
                f"conformation_dim={conformation_dim}"
            )
        if hidden and modes is None:
            raise ValueError(
                f"a network (hidden={hidden}) mixes the coordinates: give the number of modes"
            )
        if not amplitude > 0 or hidden < 0:
            raise ValueError(
                "normal modes need amplitude > 0 and hidden >= 0, found "
                f"amplitude={amplitude} and hidden={hidden}"
            )
        displacement, stiffness = elastic_network_modes(positions, count, cutoff, power)
        self.register_buffer("reference", positions.detach().clone(), persistent=False)
        # Kept in checkpoints: eigenvectors of near-equal stiffness may turn with scipy's version.
        self.register_buffer("displacements", displacement.to(self.reference))
        scale = amplitude * (stiffness[0] / stiffness).sqrt()
        self.register_buffer("scale", scale.to(self.reference), persistent=False)
        self.amplitudes: nn.Module
        if hidden:
            self.amplitudes = ResidualMLP(conformation_dim, count, hidden, layers)
        elif modes is None:
            self.amplitudes = _Stretch(count)
        else:
            self.amplitudes = nn.Linear(conformation_dim, count, bias=False)
            nn.init.eye_(self.amplitudes.weight)

    def forward(self, conformation: Tensor) -> Tensor:
        """Places the atoms, in full precision under autocast too.

        Args:
            conformation: Shape (B, Z).

        Returns:
            Positions in Å, shape (B, N, 3).
        """
        with torch.autocast(conformation.device.type, enabled=False):
            amplitude = self.amplitudes(conformation.to(self.reference)) * self.scale
            moved = amplitude @ self.displacements.flatten(1) + self.reference.flatten()
        return moved.unflatten(1, self.reference.shape)


class _Stretch(nn.Module):
    """Each coordinate times a factor of its own."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(count))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor
