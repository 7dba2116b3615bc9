"""Particles that two runs have embedded."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.particles.keys import ImageNames, image_keys, refuse_repeats

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
    ours, theirs, what = _keys(first, second)
    for run, keys in ((first, ours), (second, theirs)):
        refuse_repeats(keys, what, run.source)
    _, a, b = np.intersect1d(ours, theirs, assume_unique=True, return_indices=True)
    if len(a) < _FEWEST:
        raise ValueError(
            f"{first.source} and {second.source} share {len(a)} particles, fewer than {_FEWEST}"
        )
    return a.astype(np.int64), b.astype(np.int64)


def _keys(first: Embedding, second: Embedding) -> tuple[npt.NDArray[Any], npt.NDArray[Any], str]:
    """What names the particles of both, and what that is."""
    if first.uids is not None and second.uids is not None:
        return first.uids, second.uids, "uid"
    if first.image_names is not None and second.image_names is not None:
        ours = ImageNames.of(first.image_names.tolist(), first.source)
        theirs = ImageNames.of(second.image_names.tolist(), second.source)
        return *image_keys(ours, theirs), "image name"
    if first.rows is not None and second.rows is not None:
        return first.rows, second.rows, "row in the particle file"
    raise ValueError(
        f"{first.source} and {second.source} name their particles in different ways; give the "
        "particle file that both were given by --particles"
    )
