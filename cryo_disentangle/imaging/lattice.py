"""Points of the symmetrised Fourier lattice.

A transform of a D x D image (D even) is copied to L x L with L = D + 1, so that every frequency has
its mirror image on the lattice. Flattened, x runs fastest, and reversing the order negates every
frequency.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["FourierDisc", "lattice_frequencies"]


def lattice_frequencies(box_size: int) -> Tensor:
    """Lists the frequencies of the symmetrised lattice.

    Args:
        box_size: Image side D in pixels, even.

    Returns:
        (x, y) in cycles per pixel from -0.5 to 0.5, shape (L * L, 2), float32, x fastest.

    Raises:
        ValueError: If the box size is odd or smaller than 2.
    """
    if box_size < 2 or box_size % 2:
        raise ValueError(f"box size must be even and positive, found {box_size}")
    # In float64 first: a float32 linspace differs from cryoDRGN's in the last digit.
    axis = torch.from_numpy(np.linspace(-0.5, 0.5, box_size + 1).astype(np.float32))
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=-1)


class _Points:
    """Points of the lattice: a disc, or some of one.

    Attributes:
        box_size: Image side D in pixels.
        radius: That of the disc.
        index: Positions on the flattened lattice, shape (M,).
        frequencies: (x, y) in cycles per pixel, shape (M, 2).
    """

    box_size: int
    radius: int
    index: Tensor
    frequencies: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def select(self, images: Tensor) -> Tensor:
        """Takes the disc's coefficients out of whole transforms.

        Args:
            images: Hartley transforms, shape (B, L, L).

        Returns:
            Shape (B, M).
        """
        return images.flatten(-2).index_select(-1, self.index)

    def scatter(self, coefficients: Tensor) -> Tensor:
        """Scatters the disc's coefficients to the lattice, zero elsewhere.

        Args:
            coefficients: Shape (B, M).

        Returns:
            Hartley transforms, shape (B, L, L).
        """
        side = self.box_size + 1
        images = coefficients.new_zeros(len(coefficients), side * side)
        return images.index_copy(1, self.index, coefficients).unflatten(1, (side, side))


class _Subset(_Points):
    """Some points of a disc; no module, for none can be made in what is compiled."""

    def __init__(self, disc: FourierDisc, positions: Tensor) -> None:
        self.box_size, self.radius = disc.box_size, disc.radius
        self.index, self.frequencies = disc.index[positions], disc.frequencies[positions]


class FourierDisc(_Points, nn.Module):
    """The coefficients inside a circle about the origin, without the origin.

    Only these are compared with images or read by an encoder. Their order is the lattice's, so
    that reversing it gives the mirrored frequencies, and the first half lies in one half plane.

    Args:
        box_size: Image side D in pixels, even.
        radius: Radius of the circle in Fourier pixels, at most D / 2; None is D / 2. -1 takes the
            whole lattice with its origin, as cryoDRGN's ``--enc-mask -1``.

    Attributes:
        index: Positions on the flattened lattice, shape (M,).
        frequencies: (x, y) in cycles per pixel, shape (M, 2).

    Raises:
        ValueError: If the box size is odd or the radius outside 1 .. D / 2.
    """

    def __init__(self, box_size: int, radius: int | None = None) -> None:
        super().__init__()
        frequencies = lattice_frequencies(box_size)
        radius = box_size // 2 if radius is None else radius
        if radius == -1:
            index = torch.arange(len(frequencies))
        elif 1 <= radius <= box_size // 2:
            pixels = torch.round(frequencies * box_size).long()
            squared = pixels.square().sum(-1)
            index = torch.nonzero((squared <= radius**2) & (squared > 0))[:, 0]
        else:
            raise ValueError(
                f"radius must be -1 (all) or from 1 to half the box size ({box_size // 2}), "
                f"found {radius}"
            )
        self.box_size = box_size
        self.radius = radius
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("frequencies", frequencies[index], persistent=False)

    def random_subset(
        self, share: float, generator: torch.Generator | None = None
    ) -> tuple[FourierDisc, Tensor]:
        """Draws coefficients at random, each as likely.

        They come with their mirror images, which many decoders get for nothing: reversing the order
        of the subset negates its frequencies too. The origin, if there is one, is never drawn.

        Args:
            share: Share of the coefficients to draw, above 0 and at most 1; at least one pair.
            generator: Source of randomness on the disc's device; None is torch's global one.

        Returns:
            A disc of K coefficients, and which of this disc's they are, shape (K,).

        Raises:
            ValueError: If the share is out of range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1, found {share}")
        n_pairs = len(self) // 2
        count = max(1, round(share * n_pairs))
        drawn = torch.randperm(n_pairs, generator=generator, device=self.index.device)
        half = drawn[:count].sort().values
        positions = torch.cat([half, len(self) - 1 - half.flip(0)])
        return cast(FourierDisc, _Subset(self, positions)), positions
