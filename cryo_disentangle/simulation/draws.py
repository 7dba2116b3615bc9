"""Random numbers that belong to a particle, not to the order in which particles are made.

A counter-based generator is asked for the numbers of particle i directly. So a stack is the same in
whatever pieces, order or number of threads it is made, and a broken-off one can be continued.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Draws"]

# Philox makes four numbers of 64 bits for each step of its counter.
_PER_STEP = 4


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of some particles.

    Args:
        seed: Names the stream; the same numbers come again for the same seed.
        index: Numbers of the particles, from 0, shape (B,), int64. Time and memory grow with the
            span from the smallest to the largest.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox).
    """

    seed: tuple[int, ...]
    index: Tensor

    @classmethod
    def consecutive(cls, seed: tuple[int, ...], start: int, count: int) -> Draws:
        """Takes particles that follow each other.

        Args:
            seed: Names the stream.
            start: First particle.
            count: Number of particles B.

        Returns:
            Their random numbers.
        """
        return cls(seed, torch.arange(start, start + count))

    def _steps(self, purpose: str, steps: int) -> tuple[np.random.Philox, int]:
        """A generator at the first particle of the span, and the span's length."""
        first, last = int(self.index.min()), int(self.index.max())
        key = np.random.SeedSequence([*self.seed, zlib.crc32(purpose.encode())])
        return np.random.Philox(key).advance(first * steps), last - first + 1

    def uniform(self, purpose: str, columns: int) -> Tensor:
        """Draws uniformly from the open interval (0, 1).

        Args:
            purpose: What the numbers are for; another purpose gets independent numbers.
            columns: Numbers for each particle.

        Returns:
            Shape (B, columns), float64.
        """
        steps = -(-columns // _PER_STEP)
        philox, span = self._steps(purpose, steps)
        numbers = np.random.Generator(philox).random((span, steps * _PER_STEP))
        # Neither 0 nor 1 may come out: quantile functions are infinite there.
        inside = torch.from_numpy(numbers[:, :columns] * (1 - 2.0**-53) + 2.0**-54)
        return inside[self.index - self.index.min()]

    def normal(self, purpose: str, columns: int) -> Tensor:
        """Draws from the standard normal distribution.

        Args:
            purpose: As in `uniform`.
            columns: Numbers for each particle.

        Returns:
            Shape (B, columns), float64.
        """
        return torch.special.ndtri(self.uniform(purpose, columns))

    def normal_images(self, purpose: str, box_size: int) -> Tensor:
        """Draws images of standard normal numbers.

        Each image has a sequential generator of its own, which is faster than quantiles.

        Args:
            purpose: As in `uniform`.
            box_size: Image side D.

        Returns:
            Shape (B, D, D), float32.
        """
        philox, span = self._steps(purpose, 1)
        seeds = philox.random_raw(span * _PER_STEP)[::_PER_STEP] >> np.uint64(1)
        generator = torch.Generator()
        images = torch.empty(len(self.index), box_size, box_size)
        own = seeds[(self.index - self.index.min()).numpy()].tolist()
        for image, seed in zip(images.unbind(0), own, strict=True):
            image.normal_(generator=generator.manual_seed(seed))
        return images
