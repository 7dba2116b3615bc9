"""Shuffling for slow seeks: blocks of neighbours are read together, particles mixed in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.sampling import ShuffledEpochs

__all__ = ["BlockShuffledEpochs"]

_BLOCKS_PER_WINDOW = 32

Rows = npt.NDArray[np.int64]


class BlockShuffledEpochs(ShuffledEpochs):
    """A new order each epoch that reads a stack in blocks, a function of seed and epoch alone.

    Blocks of consecutive indices come in a random order, and particles are shuffled within windows
    of 32 such blocks. Each is delivered at most once an epoch, and all but a remainder of less than
    ``world_size`` are, as in `ShuffledEpochs`. A rank has its own run of blocks, so that no block
    is read on two machines (but for at most one at each end of the run).

    Args:
        indices: What to shuffle, shape (N,), neighbours in the files beside each other.
        seed: Seed of the orders.
        block: Number of indices in a block.
        rank: Number of this process.
        world_size: How many processes share the indices.
        fixed: Whether every epoch has the order of the first, to overfit a few batches.
        prefetch: Told the indices of each window, in ascending order, one window ahead, and returns
            without waiting for them.

    Raises:
        ValueError: If there are fewer indices than processes, or the block is not positive.
    """

    def __init__(
        self,
        indices: Rows,
        seed: int,
        block: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        fixed: bool = False,
        prefetch: Callable[[Rows], None] | None = None,
    ) -> None:
        super().__init__(indices, seed, rank, world_size, fixed=fixed)
        if block < 1:
            raise ValueError(f"shuffle_block must be at least 1, found {block}")
        self.block = block
        self._prefetch = prefetch

    def __iter__(self) -> Iterator[int]:
        """Yields this rank's indices of the epoch, after the first ``start``."""
        generator = self._generator()
        positions = self._positions(generator)
        window = self.block * _BLOCKS_PER_WINDOW
        # One seed for each window, so that a resumed epoch can begin with any of them.
        seeds = generator.integers(2**63, size=len(positions) // window + 1).tolist()
        first = self.start // window
        parts = [positions[at : at + window] for at in range(0, len(positions), window)]
        self._announce(parts[first : first + 1])
        for number in range(first, len(parts)):
            self._announce(parts[number + 1 : number + 2])
            order = np.random.default_rng([seeds[number], self.rank]).permutation(parts[number])
            skipped = self.start - first * window if number == first else 0
            yield from self.indices[order[skipped:]].tolist()

    def _positions(self, generator: np.random.Generator) -> npt.NDArray[np.int64]:
        """This rank's positions among the indices, block by block."""
        n_blocks = -(-len(self.indices) // self.block)
        order = generator.permutation(n_blocks)
        sizes = np.full(n_blocks, self.block)
        sizes[-1] = len(self.indices) - (n_blocks - 1) * self.block
        ends = np.cumsum(sizes[order])
        # Blocks of a rank: those that overlap its share of the concatenation of all.
        begin, end = self.rank * len(self), (self.rank + 1) * len(self)
        first, last = np.searchsorted(ends, [begin, end - 1], side="right")
        mine = order[first : last + 1]
        rows = (mine[:, None] * self.block + np.arange(self.block)).ravel()
        rows = rows[rows < len(self.indices)]
        offset = begin - (ends[first] - sizes[order[first]])
        return rows[offset : offset + len(self)]

    def _announce(self, window: list[npt.NDArray[np.int64]]) -> None:
        """Announces what will be read soon."""
        if self._prefetch is not None and window:
            self._prefetch(self.indices[np.sort(window[0])])
