"""Densities of single factors, from samples."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Marginal"]

_MOST_SAMPLES, _DENSITY_POINTS, _UNSEEN = 16_384, 257, 50.0


class Marginal(NamedTuple):
    """Log-density of a factor's samples on a grid, by kernels.

    Attributes:
        ends: Least and largest sample.
        low: First point of the grid.
        high: Last point of the grid.
        log: Log-density at its points, up to a constant.
    """

    ends: tuple[Tensor, Tensor]
    low: Tensor
    high: Tensor
    log: Tensor

    @classmethod
    def of(cls, samples: Tensor) -> Marginal:
        """Tabulates the density of samples (S,)."""
        width = 1.06 * samples.std() * len(samples) ** -0.2
        ends = samples.min(), samples.max()
        low, high = ends[0] - 4 * width, ends[1] + 4 * width
        grid = torch.linspace(float(low), float(high), _DENSITY_POINTS, dtype=samples.dtype)
        some = samples[:_MOST_SAMPLES]
        density = torch.exp(-0.5 * ((grid[:, None] - some) / width).square()).mean(1)
        return cls(ends, low, high, density.clamp_min(1e-12).log())

    def __call__(self, at: Tensor) -> Tensor:
        """Evaluates the log-density at values of any shape."""
        place = ((at - self.low) / (self.high - self.low) * (_DENSITY_POINTS - 1)).clamp(
            0, _DENSITY_POINTS - 1.001
        )
        left = place.long()
        # Kernels blur the ends of a prior that has some.
        beyond = (at < self.ends[0]) | (at > self.ends[1])
        log = torch.lerp(self.log[left], self.log[left + 1], place - left)
        return log - _UNSEEN * beyond
