"""Particles that were drawn round on a page, as a file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.selection.particle_table import ParticleTable

__all__ = ["fingerprint", "lasso_of", "read_lasso", "table_fingerprint", "write_lasso"]

_FORMAT = "cryo-disentangle lasso"

BoolArray = npt.NDArray[np.bool_]


def fingerprint(embedding: Embedding) -> str:
    """Names latents by their values.

    Args:
        embedding: Latents.

    Returns:
        Sixteen hexadecimal digits, other ones for other latents or another order.
    """
    values = np.ascontiguousarray(embedding.latents, dtype=np.float32)
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def table_fingerprint(table: ParticleTable) -> str:
    """Names a particle file by what identifies its rows.

    Args:
        table: Particle file.

    Returns:
        Sixteen hexadecimal digits, other ones for other particles or another order.
    """
    digest = hashlib.sha256(str(len(table)).encode())
    if table.uids is not None:
        digest.update(np.ascontiguousarray(table.uids).tobytes())
    elif table.image_names is not None:
        digest.update("\n".join(table.image_names.tolist()).encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def lasso_of(embedding: Embedding, table: ParticleTable | None = None) -> dict[str, str | None]:
    """Says what a lasso is drawn on, as its file does.

    Args:
        embedding: The latents.
        table: Particle file that they were joined with, if any.

    Returns:
        All of the file but the positions.
    """
    return {
        "format": _FORMAT,
        "latents": fingerprint(embedding),
        "particles": None if table is None else table_fingerprint(table),
    }


def write_lasso(
    path: str | Path,
    positions: npt.ArrayLike,
    embedding: Embedding,
    table: ParticleTable | None = None,
) -> None:
    """Writes a set of particles as a page saves it.

    Args:
        path: JSON file to write.
        positions: Positions among the latents, from 0.
        embedding: The latents.
        table: Particle file that they were joined with, if any.
    """
    chosen = np.asarray(positions, dtype=np.int64).tolist()
    content = {**lasso_of(embedding, table), "positions": chosen}
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content), encoding="utf-8")


def read_lasso(path: str | Path, embedding: Embedding, table: ParticleTable) -> BoolArray:
    """Reads a set of particles that was drawn.

    Args:
        path: JSON file.
        embedding: The latents that it was drawn on.
        table: Particle file.

    Returns:
        Who is in the set, shape (n,).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no lasso, was drawn on other latents, or the particle file has changed
            since.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not a lasso that a page has saved: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError(f'{path}: not a lasso that a page has saved: no "format": "{_FORMAT}"')
    if content.get("latents") != fingerprint(embedding):
        raise ValueError(
            f"{path}: was drawn on other latents than those of {embedding.source} (of another run, "
            "epoch or --z)"
        )
    if content.get("particles") not in (None, table_fingerprint(table)):
        raise ValueError(f"{path}: {table.path} has changed since this lasso was drawn")
    positions = np.asarray(content.get("positions", []))
    if positions.dtype.kind not in "iu" or positions.ndim != 1:
        raise ValueError(f"{path}: positions must be whole numbers")
    if positions.size and not 0 <= positions.min() <= positions.max() < len(embedding):
        raise ValueError(f"{path}: positions must lie within 0 and {len(embedding) - 1}")
    chosen = np.zeros(len(embedding), dtype=bool)
    chosen[positions] = True
    return chosen
