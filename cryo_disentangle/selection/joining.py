"""Which rows of a particle file the latents belong to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.particles.keys import ImageNames, image_keys, rows_by_key

__all__ = ["rows_in_table"]

Array = npt.NDArray[Any]


class _NamedRows(Protocol):
    """Rows of a particle file, and what names them where anything does."""

    @property
    def path(self) -> Path: ...
    @property
    def uids(self) -> Array | None: ...
    @property
    def image_names(self) -> Array | None: ...
    def __len__(self) -> int: ...


def rows_in_table(embedding: Embedding, table: _NamedRows) -> npt.NDArray[np.int64]:
    """Finds the row of each embedded particle in the user's file.

    Particles are joined by cryoSPARC's ``uid`` where both sides have it, else by image name where
    both have it (its last part, where folders differ), else by the row in the file that the run was
    given; never by count.

    Args:
        embedding: Latents of n particles.
        table: Particle file of N rows.

    Returns:
        Rows, shape (n,), each once.

    Raises:
        ValueError: If particles are not in the table, a key stands in two of its rows, or the two
            have no key in common.
    """
    whose = f"particles of {embedding.source}"
    if embedding.uids is not None and table.uids is not None:
        return rows_by_key(embedding.uids, table.uids, "uid", table.path, whose)
    if embedding.image_names is not None and table.image_names is not None:
        ours = ImageNames.of(embedding.image_names.tolist(), embedding.source)
        keys = image_keys(ours, ImageNames.of(table.image_names.tolist(), table.path))
        return rows_by_key(*keys, "image name", table.path, whose, ours.text)
    if embedding.rows is None:
        raise ValueError(
            f"{embedding.source} {_key(embedding)}, and {table.path} has none that fits; give the "
            "particle file that the run was given"
        )
    if embedding.counted and len(embedding) != len(table):
        raise ValueError(
            f"{embedding.source}: {len(embedding)} latents, and nothing says which of the "
            f"{len(table)} rows of {table.path} they belong to; save them as .npz with an array "
            "`row`"
        )
    rows = embedding.rows.astype(np.int64)
    outside = np.flatnonzero((rows < 0) | (rows >= len(table)))
    if outside.size:
        first = ", ".join(str(row + 1) for row in rows[outside[:3]])
        raise ValueError(
            f"{embedding.source}: {outside.size} of {len(rows)} particles lie beyond the "
            f"{len(table)} rows of {table.path}, the first in rows {first}"
        )
    if len(np.unique(rows)) != len(rows):
        raise ValueError(f"{embedding.source}: two latents belong to the same row of {table.path}")
    return rows


def _key(embedding: Embedding) -> str:
    """What an embedding names its particles by, in words."""
    if embedding.uids is not None:
        return "names its particles by uid"
    if embedding.image_names is not None:
        return "names its particles by image name"
    return "does not say which particles its latents are of (the run's configuration or ind file)"
