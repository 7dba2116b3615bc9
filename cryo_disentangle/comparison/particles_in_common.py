"""Particles that two runs have embedded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.embeddings.embedding import Embedding

__all__ = ["common_particles"]

# Fewer leave too few on either side of a split into fit and test.
_FEWEST = 12

IntArray = npt.NDArray[np.int64]


def common_particles(first: Embedding, second: Embedding) -> tuple[IntArray, IntArray]:
    """Matches the particles of two runs by uid, image name or row, never by count.

    Args:
        first: A run.
        second: Another one.

    Returns:
        Positions in the first and in the second, each (m,), of the particles that both have.

    Raises:
        ValueError: If the runs name their particles in different ways, name one twice, or share
            fewer than 12.
    """
    for what in ("uids", "image_names", "rows"):
        ours, theirs = getattr(first, what), getattr(second, what)
        if ours is not None and theirs is not None:
            break
    else:
        raise ValueError(
            f"{first.source} and {second.source} name their particles in different ways; give the "
            "particle file that both were given by --particles"
        )
    for run, keys in ((first, ours), (second, theirs)):
        _refuse_repeats(run, keys)
    _, a, b = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    if len(a) < _FEWEST:
        raise ValueError(
            f"{first.source} and {second.source} share {len(a)} particles, fewer than {_FEWEST}"
        )
    return a.astype(np.int64), b.astype(np.int64)


def _refuse_repeats(run: Embedding, keys: npt.NDArray[Any]) -> None:
    """Refuses a particle that was embedded twice."""
    ordered = np.sort(keys)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if twice.size:
        raise ValueError(f"{run.source}: particle {twice[0]} has two latents")
