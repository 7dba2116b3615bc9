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


@dataclass(frozen=True)
class Draws:
    """Random numbers of consecutive particles.

    Args:
        seed: Names the stream; the same numbers come again for the same seed.
        start: First particle.
        count: Number of particles B.

    References:
        Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3 (Philox).
    """

    seed: tuple[int, ...]
    start: int
    count: int

    @property
    def index(self) -> Tensor:
        """Numbers of the particles, shape (B,), int64."""
        return torch.arange(self.start, self.start + self.count)

    def _key(self, purpose: str) -> np.random.SeedSequence:
        """Seeds one purpose of the stream, independent of every other."""
        return np.random.SeedSequence([*self.seed, zlib.crc32(purpose.encode())])

    def uniform(self, purpose: str, columns: int) -> Tensor:
        """Draws uniformly from the open interval (0, 1).

        Args:
            purpose: What the numbers are for; another purpose gets independent numbers.
            columns: Numbers for each particle.

        Returns:
            Shape (B, columns), float64.
        """
        steps = -(-columns // _PER_STEP)
        philox = np.random.Philox(self._key(purpose)).advance(self.start * steps)
        numbers = np.random.Generator(philox).random((self.count, steps * _PER_STEP))
        # Neither 0 nor 1 may come out: quantile functions are infinite there.
        return torch.from_numpy(numbers[:, :columns] * (1 - 2.0**-53) + 2.0**-54)

    def normal(self, purpose: str, columns: int) -> Tensor:
        """Draws from the standard normal distribution.

        Args:
            purpose: As in `uniform`.
            columns: Numbers for each particle.

        Returns:
            Shape (B, columns), float64.
        """
        return torch.special.ndtri(self.uniform(purpose, columns))

    def generator(self, purpose: str) -> torch.Generator:
        """Seeds a sequential generator for numbers of the whole block of particles.

        Args:
            purpose: As in `uniform`.

        Returns:
            A generator on the CPU that depends on the seed, the purpose and ``start``.
        """
        sequence = np.random.SeedSequence([*self.seed, zlib.crc32(purpose.encode()), 1, self.start])
        return torch.Generator().manual_seed(int(sequence.generate_state(1, np.uint64)[0] >> 1))
