"""cryoDRGN's decoder: a coordinate network in Fourier space, conditioned on the conformation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from cryo_disentangle.decoders._side import volume_side
from cryo_disentangle.decoders.encoding import GaussianEncoding, PositionalEncoding
from cryo_disentangle.imaging import FourierDisc
from cryo_disentangle.imaging.hartley import inverse_hartley3
from cryo_disentangle.networks.residual_mlp import ResidualMLP

__all__ = ["ImplicitDecoder"]


class ImplicitDecoder(nn.Module):
    """Volume as a network (frequency, conformation) -> Hartley coefficient.

    In the Fourier domain the network gives real and imaginary part of a half space, and the other
    half follows by Friedel's law, so that half the points of a slice cost nothing. In the Hartley
    domain it gives every coefficient by itself. State-dict compatible with the decoder of
    cryoDRGN's ``HetOnlyVAE``.

    Args:
        box_size: Image side D in pixels, even.
        conformation_dim: Number Z of conformation coordinates.
        width: Width of the hidden layers.
        layers: Number of residual hidden layers.
        domain: What the network gives: ``fourier`` (complex, symmetric) or ``hartley``.
        encoding: Positional encoding of frequencies.
        activation: Activation of the hidden layers.

    Raises:
        ValueError: If the box size is odd or a size is not positive.

    References:
        Zhong et al. 2021, cryoDRGN, Methods; version 4.3 for conventions.
    """

    frequency_matrix: Tensor

    def __init__(
        self,
        box_size: int,
        conformation_dim: int,
        width: int = 1024,
        layers: int = 3,
        domain: Literal["fourier", "hartley"] = "fourier",
        encoding: PositionalEncoding | None = None,
        activation: Literal["relu", "leaky_relu"] = "relu",
    ) -> None:
        super().__init__()
        if box_size < 2 or box_size % 2:
            raise ValueError(f"box size must be even and positive, found {box_size}")
        encoding = GaussianEncoding() if encoding is None else encoding
        self.box_size = box_size
        self.domain = domain
        self.encoding = encoding
        self._blocks = encoding.blocks
        self._scale = box_size // 2 if encoding.scaled else 1
        matrix = encoding.matrix(box_size)
        if encoding.scaled:
            # The name and the place (before the network) of cryoDRGN's checkpoints.
            self.rand_freqs = nn.Parameter(matrix, requires_grad=False)
        else:
            self.register_buffer("frequency_matrix", matrix, persistent=False)
        outputs = 2 if domain == "fourier" else 1
        inputs = 2 * len(matrix) + conformation_dim
        self.decoder = ResidualMLP(inputs, outputs, width, layers, activation)
        # As many points at a time as keep a layer's activations within about 64 MiB.
        self._points_at_a_time = max(1, 2**24 // max(inputs, width))

    def render(self, conformation: Tensor, rotation: Tensor, disc: FourierDisc) -> Tensor:
        """Evaluates central slices.

        Args:
            conformation: Shape (B, Z).
            rotation: Shape (B, 3, 3), as in `Pose`.
            disc: The M points of the lattice to evaluate.

        Returns:
            Hartley coefficients in normalised units, shape (B, M).
        """
        count = len(disc)
        if self.domain == "fourier":
            # Reversing the order of points mirrors them, so the first half determines the rest.
            count = (count + 1) // 2
        points = disc.frequencies[:count]
        if self.domain == "hartley":
            with self._exactly(points):
                points = points @ rotation[:, :2]
            return self._network(points, conformation)[..., 0]
        with self._exactly(points):
            sign = self._half_space(points @ rotation[:, :2, 2:])
            # Frequencies are two-dimensional, so the third row of the rotation is never read.
            features = self._features((sign * points) @ (rotation[:, :2] @ self._matrix().T))
        real, imaginary = self.decoder.forward_points(features, conformation).unbind(-1)
        odd = sign[..., 0] * imaginary
        mirrored = (real + odd)[:, : len(disc) - count]
        return torch.cat([real - odd, mirrored.flip(-1)], dim=-1)

    def evaluate(self, points: Tensor, conformation: Tensor) -> Tensor:
        """Evaluates the volume's transform anywhere.

        Args:
            points: (x, y, z) in cycles per pixel, shape (B, P, 3).
            conformation: Shape (B, Z).

        Returns:
            Hartley coefficients in normalised units, shape (B, P).
        """
        if self.domain == "hartley":
            return self._network(points, conformation)[..., 0]
        x, y, z = points.unbind(-1)
        # On the boundary of the half space the next coordinate decides, or both of a mirrored pair
        # of points would be looked up and Friedel's law be broken there.
        upper = torch.where(z == 0, torch.where(y == 0, x, y), z)[..., None]
        sign = self._half_space(upper)
        real, imaginary = self._network(sign * points, conformation).unbind(-1)
        return real - sign[..., 0] * imaginary

    @torch.no_grad()
    def volume(self, conformation: Tensor, box_size: int | None = None) -> Tensor:
        """Evaluates the density of one conformation on a grid, as ``cryodrgn eval_vol`` does.

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
        extent = 0.5 * side / self.box_size
        axis = torch.linspace(-extent, extent, side + 1, device=conformation.device)
        # The last plane, row and column are dropped: they repeat the first.
        z, y, x = torch.meshgrid(axis[:-1], axis[:-1], axis[:-1], indexing="ij")
        points = torch.stack([x, y, z], dim=-1).flatten(0, 2)
        transform = points.new_zeros(len(points))
        inside = points.norm(dim=-1) <= extent * (1 + 1e-6)
        wanted = torch.nonzero(inside)[:, 0] if self.domain == "fourier" else slice(None)
        transform[wanted] = self._evaluate_in_parts(points[wanted], conformation)
        return inverse_hartley3(transform.unflatten(0, (side, side, side)))

    def _evaluate_in_parts(self, points: Tensor, conformation: Tensor) -> Tensor:
        """A few slices at a time, since activations of a whole volume would fill the memory."""
        parts = points.split(self._points_at_a_time)
        return torch.cat([self.evaluate(part[None], conformation[None])[0] for part in parts])

    def _matrix(self) -> Tensor:
        """Angular frequencies for coordinates in cycles per pixel, shape (F, 3)."""
        return self.rand_freqs * self._scale if self._scale > 1 else self.frequency_matrix

    def _network(self, points: Tensor, conformation: Tensor) -> Tensor:
        """(B, P, 3), (B, Z) -> (B, P, outputs)."""
        with self._exactly(points):
            features = self._features(points @ self._matrix().T)
        return self.decoder.forward_points(features, conformation)

    @staticmethod
    def _exactly(points: Tensor) -> torch.autocast:
        """Keeps autocast away: in bfloat16 a phase of many radians has lost its digits."""
        return torch.autocast(points.device.type, enabled=False)

    @staticmethod
    def _half_space(z: Tensor) -> Tensor:
        """-1 where a coordinate is positive, since those points are mirrored, else 1."""
        return 1 - 2 * (z > 0).to(z.dtype)

    def _features(self, phase: Tensor) -> Tensor:
        """Sines and cosines in the order that checkpoints expect: (B, P, F) -> (B, P, 2 F)."""
        blocks = phase.unflatten(-1, (self._blocks, -1))
        # A compiler writes sines and cosines in place by itself, and stops at what names a target.
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and phase.requires_grad):
            return torch.stack([blocks.sin(), blocks.cos()], dim=-2).flatten(-3)
        features = phase.new_empty(*blocks.shape[:-1], 2, blocks.shape[-1])
        torch.sin(blocks, out=features[..., 0, :])
        torch.cos(blocks, out=features[..., 1, :])
        return features.flatten(-3)
