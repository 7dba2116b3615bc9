"""An invertible map of latents that bends each coordinate by the others."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["CouplingFlow"]


class CouplingFlow(nn.Module):
    """Additive coupling layers and a linear map, the identity at first.

    Each layer adds a function of all other coordinates to one; it is undone by subtracting the
    same, and keeps volumes, so that only the linear map changes densities.

    Args:
        dim: Number Z of coordinates.
        width: Width of the two hidden layers of each function.
        rounds: How often each coordinate is bent.

    Raises:
        ValueError: If a number is not positive.

    References:
        Dinh et al. 2015, NICE: non-linear independent components estimation.
    """

    def __init__(self, dim: int, width: int = 16, rounds: int = 2) -> None:
        super().__init__()
        if min(dim, width, rounds) < 1:
            raise ValueError(
                f"a flow needs positive sizes, found dim={dim}, width={width}, rounds={rounds}"
            )
        self.dim = dim
        self.matrix = nn.Parameter(torch.eye(dim))
        layers = range(rounds * dim if dim > 1 else 0)
        self.bends = nn.ModuleList(_bend(dim - 1, width) for _ in layers)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Maps coordinates.

        Args:
            z: Shape (..., Z).

        Returns:
            Shape (..., Z), and the logarithm of the map's volume change, a scalar.
        """
        columns = list(z.unbind(-1))
        for number, bend in enumerate(self.bends):
            columns[number % self.dim] = columns[number % self.dim] + self._bent(
                bend, number, columns
            )
        return torch.stack(columns, -1) @ self.matrix.T, torch.linalg.slogdet(self.matrix)[1]

    def inverse(self, u: Tensor) -> Tensor:
        """Undoes the map.

        Args:
            u: Shape (..., Z).

        Returns:
            Shape (..., Z).
        """
        columns = list(torch.linalg.solve(self.matrix, u[..., None])[..., 0].unbind(-1))
        for number, bend in reversed(list(enumerate(self.bends))):
            columns[number % self.dim] = columns[number % self.dim] - self._bent(
                bend, number, columns
            )
        return torch.stack(columns, -1)

    def _bent(self, bend: nn.Module, number: int, columns: list[Tensor]) -> Tensor:
        """What a layer adds to its coordinate, (...)."""
        own = number % self.dim
        others = torch.stack(columns[:own] + columns[own + 1 :], -1)
        added: Tensor = bend(others)[..., 0]
        return added


def _bend(inputs: int, width: int) -> nn.Module:
    """A smooth function that is zero at first."""
    last = nn.Linear(width, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    first, middle = nn.Linear(inputs, width), nn.Linear(width, width)
    return nn.Sequential(first, nn.Tanh(), middle, nn.Tanh(), last)
