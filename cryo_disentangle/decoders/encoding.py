"""Positional encodings: a point in Fourier space to sines and cosines of its coordinates.

Every encoding is a matrix of angular frequencies F: the features of a point p are sin(F p) and
cos(F p). What differs is the matrix and the order in which the network reads the features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from cryo_disentangle.options.parts import part

__all__ = ["AxisEncoding", "GaussianEncoding", "PositionalEncoding"]


@part
class PositionalEncoding(Protocol):
    """Interface of the encodings of `ImplicitDecoder`.

    Attributes:
        blocks: Features are read block by block, in each first all sines, then all cosines.
        scaled: Whether the matrix is kept in units of D / 2 (and in the checkpoint).
    """

    blocks: ClassVar[int]
    scaled: ClassVar[bool]

    def matrix(self, box_size: int) -> Tensor:
        """Makes the frequencies for coordinates in cycles per pixel.

        Args:
            box_size: Image side D in pixels.

        Returns:
            Angular frequencies, shape (rows, 3).
        """
        ...


def _encoding_dim(dim: int | None, box_size: int) -> int:
    if dim is not None and dim < 1:
        raise ValueError(f"an encoding needs dim >= 1 (or null: D / 2), found {dim}")
    return box_size // 2 if dim is None else dim


@dataclass(frozen=True)
class GaussianEncoding:
    """Random frequencies, drawn once and kept with the weights (cryoDRGN's ``--pe-type gaussian``).

    Args:
        sigma: Standard deviation of the frequencies in units of D / 2 radians.
        dim: A third of the number of frequencies; null is D / 2.

    References:
        Tancik et al. 2020, Fourier features; cryoDRGN 4.3.
    """

    sigma: float = 0.5
    dim: int | None = None

    blocks: ClassVar[int] = 1
    scaled: ClassVar[bool] = True

    def matrix(self, box_size: int) -> Tensor:
        """Draws the frequencies from torch's global generator.

        Args:
            box_size: Image side D in pixels.

        Returns:
            Shape (3 dim, 3), in units of D / 2.

        Raises:
            ValueError: If ``dim`` is not positive.
        """
        return torch.randn(3 * _encoding_dim(self.dim, box_size), 3) * self.sigma


@dataclass(frozen=True)
class AxisEncoding:
    """The same ladder of frequencies along each axis (cryoDRGN's other ``--pe-type``).

    With D2 = D / 2 the ladders of K steps run geometrically from the highest to the lowest angular
    frequency: ``geom_ft`` 2π D2 to 2π, ``geom_full`` 2π D2 to 1, ``geom_lowf`` D2 to 1,
    ``geom_nohighf`` D2 to 2π; ``linear_lowf`` is 1, 2, ..., D2 and has no K.

    Args:
        ladder: Name of the ladder, as in cryoDRGN.
        dim: Steps K; null is D / 2.

    References:
        Zhong et al. 2020, ICLR, Eq. 5; names of cryoDRGN 4.3.
    """

    ladder: Literal["geom_ft", "geom_full", "geom_lowf", "geom_nohighf", "linear_lowf"] = (
        "geom_lowf"
    )
    dim: int | None = None

    blocks: ClassVar[int] = 3
    scaled: ClassVar[bool] = False

    def matrix(self, box_size: int) -> Tensor:
        """Builds the frequencies, x axis first, then y, then z.

        Args:
            box_size: Image side D in pixels.

        Returns:
            Shape (3 K, 3).

        Raises:
            ValueError: If ``dim`` is not positive, or is one for a geometric ladder.
        """
        return torch.block_diag(*[self._steps(box_size)[:, None]] * 3)

    def _steps(self, box_size: int) -> Tensor:
        half = box_size // 2
        if self.ladder == "linear_lowf":
            return torch.arange(1.0, half + 1)
        steps = _encoding_dim(self.dim, box_size)
        if steps == 1:
            raise ValueError(f"a geometric ladder needs at least two steps, found dim={self.dim}")
        highest = {"geom_ft": 2 * math.pi * half, "geom_full": 2 * math.pi * half}
        lowest = {"geom_ft": 2 * math.pi, "geom_nohighf": 2 * math.pi}
        first, last = highest.get(self.ladder, float(half)), lowest.get(self.ladder, 1.0)
        exponent = torch.arange(steps, dtype=torch.float64) / (steps - 1)
        return (first * (last / first) ** exponent).float()
