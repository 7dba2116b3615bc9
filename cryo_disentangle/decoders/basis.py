"""Explicit volumes: a mean and a few others, mixed by the conformation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders._side import volume_side
from cryo_disentangle.decoders.spline import nodes_to_values, spline_slices, values_to_nodes
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.hartley import hartley3, inverse_hartley3
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["BasisDecoder"]

# Expected spectrum of an unknown molecule: height in units of D, radius in Fourier pixels at which
# it starts to fall and the power with which it does. Measured: steeper learns less of the noise.
_HEIGHT, _KNEE, _POWER = 6.0, 4.0, 3.0


class BasisDecoder(nn.Module):
    """Volume as V(z) = V_0 + Σ_k φ_k(z) V_k, each V_k a grid of Hartley coefficients.

    A slice is read from the grid by quadratic B-splines; on the grid itself it is exact, so that
    `volume` and the slice at the identity agree to rounding. Elsewhere splines alias a little of
    the periodic images beyond the box: 4 % of a slice for a molecule that spans 77 % of the box
    (trilinear interpolation: 14 %), 1 % for 60 %. Whatever the network's size, a step of training
    reads 27 numbers for each volume and coefficient of a slice.

    The grid's parameters are in units of an envelope that falls off as a molecule's spectrum does,
    6 D / (1 + (k / 4)²)^(3/2) at radius k in Fourier pixels. So an optimiser that moves every
    parameter alike, as Adam does, learns low frequencies first, and one learning rate of about 1e-3
    serves the grid and networks alike.

    Args:
        box_size: Image side D in pixels, even.
        conformation_dim: Number Z of conformation coordinates.
        rank: Number K of volumes besides the mean.
        hidden: Width of the network φ; 0 is a linear map without offset, as in principal component
            analysis (3D variability analysis).
        layers: Number of residual hidden layers of φ; not read for a linear one.

    Raises:
        ValueError: If the box size is odd or a size is not positive.

    References:
        Punjani and Fleet 2021, 3D variability analysis, Eq. 2, for the linear form.
    """

    envelope: Tensor

    def __init__(
        self,
        box_size: int,
        conformation_dim: int,
        rank: int = 8,
        hidden: int = 128,
        layers: int = 2,
    ) -> None:
        super().__init__()
        if box_size < 2 or box_size % 2:
            raise ValueError(f"box size must be even and positive, found {box_size}")
        if min(conformation_dim, rank) < 1 or hidden < 0:
            raise ValueError(
                "a basis decoder needs conformation_dim >= 1, rank >= 1 and hidden >= 0, found "
                f"conformation_dim={conformation_dim}, rank={rank}, hidden={hidden}"
            )
        self.box_size = box_size
        self.rank = rank
        # One node beyond the highest frequency on each side, for the splines to reach.
        self._side = box_size + 3
        axis = torch.arange(self._side) - self._side // 2
        squares = axis.square()
        squared = (squares[:, None, None] + squares[:, None] + squares).flatten()
        envelope = _HEIGHT * box_size * (1 + squared / _KNEE**2) ** (-_POWER / 2)
        self.register_buffer("envelope", envelope[:, None], persistent=False)
        self.coefficients = nn.Parameter(torch.zeros(len(squared), rank + 1))
        self.mixture: nn.Module = (
            ResidualMLP(conformation_dim, rank, hidden, layers)
            if hidden
            else nn.Linear(conformation_dim, rank, bias=False)
        )

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices, in full precision under autocast too.

        Args:
            conformation: Shape (B, Z).
            rotation: Shape (B, 3, 3), as in `Pose`.
            disc: The M points of the lattice to evaluate.

        Returns:
            Hartley coefficients in normalised units, zero beyond radius D / 2, shape (B, M).
        """
        frequencies = disc.frequencies
        with torch.autocast(frequencies.device.type, enabled=False):
            if disc.radius != -1:
                return self._render(conformation, rotation, frequencies)
            # Turned, the corners of the lattice would leave the grid.
            inside = torch.nonzero(frequencies.norm(dim=-1) <= 0.5 * (1 + 1e-6))[:, 0]
            rendered = self._render(conformation, rotation, frequencies[inside])
            whole = rendered.new_zeros(len(rendered), len(disc))
            return whole.index_copy(1, inside, rendered)

    def _render(self, conformation: Tensor, rotation: Tensor, frequencies: Tensor) -> Tensor:
        """Slices at frequencies (M, 2) whose order reversed is that of their mirror images."""
        # So the first half of the points, the origin included, determines where the rest lie.
        half = (len(frequencies) + 1) // 2
        points = (frequencies[:half] * self.box_size).to(self.coefficients)
        position = points @ rotation[:, :2].to(self.coefficients)
        pairs = spline_slices(self.coefficients * self.envelope, position.flatten(0, 1))
        weights = self._weights(conformation)[:, :, None]
        values, mirrored = (
            torch.bmm(part.unflatten(0, (-1, half)), weights).squeeze(-1) for part in pairs
        )
        return torch.cat([values, mirrored[:, : len(frequencies) - half].flip(-1)], dim=-1)

    @torch.no_grad()
    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid.

        Args:
            conformation: Shape (Z,).
            box_size: Side d of the grid, even; a smaller one than the model's crops Fourier space
                (voxels grow, values are those of cryoDRGN's ``--downsample``). None is the model's.

        Returns:
            Density in normalised units, shape (d, d, d), axes z, y, x.

        Raises:
            ValueError: If the box size is odd or larger than the model's.
        """
        side = volume_side(box_size, self.box_size)
        mixed = self.coefficients @ self._weights(conformation[None])[0] * self.envelope[:, 0]
        transform = nodes_to_values(mixed.unflatten(0, (self._side,) * 3))
        kept = slice((self.box_size - side) // 2, (self.box_size + side) // 2)
        squares = (torch.arange(side, device=mixed.device) - side // 2).square()
        inside = squares[:, None, None] + squares[:, None] + squares <= (side // 2) ** 2
        return inverse_hartley3(transform[kept, kept, kept] * inside)

    @torch.no_grad()
    def load_volumes(self, volumes: Tensor) -> None:
        """Starts from known densities: a consensus map, or a mean and its principal components.

        Args:
            volumes: V_0, V_1, ... in normalised units, shape (n, D, D, D) with n <= rank + 1, axes
                z, y, x; those not given stay as they are.

        Raises:
            ValueError: If the shape is another.
        """
        side = self.box_size
        if volumes.shape[1:] != (side,) * 3 or not 1 <= len(volumes) <= self.rank + 1:
            raise ValueError(
                f"volumes must have shape (n, {side}, {side}, {side}) with n from 1 to "
                f"{self.rank + 1}, found {tuple(volumes.shape)}"
            )
        transform = hartley3(values_to_nodes(volumes.to(self.coefficients)))
        # A sampled density's transform repeats: what lies beyond one face is seen at the other.
        wrapped = (torch.arange(self._side, device=volumes.device) - 1) % side
        for axis in (1, 2, 3):
            transform = transform.index_select(axis, wrapped)
        self.coefficients[:, : len(volumes)] = transform.flatten(1).T / self.envelope

    def _weights(self, conformation: Tensor) -> Tensor:
        """1 and φ(z): (B, Z) -> (B, K + 1)."""
        mixed: Tensor = self.mixture(conformation.to(self.coefficients))
        return torch.cat([torch.ones_like(mixed[:, :1]), mixed], dim=1)
