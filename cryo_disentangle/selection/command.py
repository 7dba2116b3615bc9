"""The command ``cryo-disentangle select``."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
from rich.console import Console

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing
from cryo_disentangle.options.commands import select_parser
from cryo_disentangle.particles.pickles import read_indices, write_indices
from cryo_disentangle.selection.choices import (
    cluster_labels,
    in_range,
    nearest_to_path,
    outlier_scores,
)
from cryo_disentangle.selection.description import micrograph_shares, view_share
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.lasso import read_lasso
from cryo_disentangle.selection.particle_table import ParticleTable, open_particle_table
from cryo_disentangle.selection.table_poses import table_rotations

__all__ = ["select_command"]

_INDICES = (".pkl", ".npy", ".txt")
_WAYS = ("kmeans", "mixture", "axis", "near", "outliers", "lasso", "rows")

BoolArray = npt.NDArray[np.bool_]


def select_command(words: Sequence[str]) -> None:
    """Runs ``cryo-disentangle select``.

    Args:
        words: Command line without the command's name.

    Raises:
        ValueError: If an option or a file is wrong, or particles cannot be matched.
        OSError: If a file is missing or cannot be written.
        SystemExit: If help was asked for.
    """
    options = select_parser().parse_args(words)
    asked = [way for way in _WAYS if getattr(options, way) is not None]
    if len(asked) != 1:
        names = ", ".join(f"--{way}" for way in _WAYS)
        raise ValueError(f"choose particles in one way of {names}, found {len(asked)}")
    embedding = open_embedding(options.latents, options.z)
    table = open_particle_table(options.particles)
    rows = rows_in_table(embedding, table)
    chosen = _rows_chosen(options, embedding, table, rows)
    for name, combine in (("keep_in", np.logical_and), ("add", np.logical_or)):
        if getattr(options, name) is not None:
            chosen = combine(chosen, _other_rows(getattr(options, name), table))
    _write(options.out, chosen, table)
    _describe(Console(), options.out, chosen, rows, table)


def _rows_chosen(
    options: Namespace, embedding: Embedding, table: ParticleTable, rows: npt.NDArray[np.int64]
) -> BoolArray:
    """Which rows of the table are chosen, shape (N,)."""
    mask = np.zeros(len(table), dtype=bool)
    if options.rows is not None:
        mask = _other_rows(options.rows, table)
    else:
        mask[rows[_positions_chosen(options, embedding, table)]] = True
    if options.complement:
        embedded = np.zeros(len(table), dtype=bool)
        embedded[rows] = True
        mask = embedded & ~mask
    return mask


def _positions_chosen(options: Namespace, embedding: Embedding, table: ParticleTable) -> BoolArray:
    """Which of the latents are chosen, shape (n,)."""
    latents = embedding.latents
    if options.lasso is not None:
        return read_lasso(options.lasso, embedding, table)
    if options.axis is not None:
        width = latents.shape[1]
        if not 1 <= options.axis <= width:
            raise ValueError(f"--axis: expected 1 to {width}, found {options.axis}")
        return in_range(latents[:, options.axis - 1], options.min, options.max)
    if options.near is not None:
        if options.count is None:
            raise ValueError("--near takes a number of particles: give --count")
        return nearest_to_path(latents, _points(options.near), options.count)
    if options.outliers is not None:
        return cast(BoolArray, outlier_scores(latents) > options.outliers)
    method: Literal["kmeans", "mixture"] = "mixture" if options.kmeans is None else "kmeans"
    count = getattr(options, method)
    labels = cluster_labels(latents, count, method, options.seed)
    wanted = options.clusters or []
    if not wanted or not set(wanted) <= set(range(count)):
        raise ValueError(f"--clusters: expected some of 0 to {count - 1}, found {wanted or 'none'}")
    return np.isin(labels, wanted)


def _points(words: Sequence[str]) -> npt.NDArray[Any]:
    """Points as ``x,y`` each."""
    try:
        return np.array([[float(number) for number in word.split(",")] for word in words])
    except ValueError as error:
        raise ValueError(f"--near: expected numbers with commas between, found {words}") from error


def _other_rows(path: Path, table: ParticleTable) -> BoolArray:
    """Rows of the table that another selection has."""
    chosen = np.zeros(len(table), dtype=bool)
    if path.suffix.lower() in _INDICES:
        rows = read_indices(path)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(table):
            raise ValueError(f"{path}: indices must lie within 0 and {len(table) - 1}")
    else:
        other = open_particle_table(path)
        named = Embedding(
            "particles",
            path,
            np.zeros((len(other), 1)),
            uids=other.uids,
            image_names=other.image_names,
        )
        rows = rows_in_table(named, table)
    chosen[rows] = True
    return chosen


def _write(path: Path, chosen: BoolArray, table: ParticleTable) -> None:
    """Writes the set as the suffix says."""
    suffix = path.suffix.lower()
    if suffix not in (table.suffix, *_INDICES):
        expected = ", ".join((table.suffix, *_INDICES))
        raise ValueError(f"--out: expected a file {expected} of {table.path}, found {path.name}")
    if path.resolve() == table.path.resolve():
        raise ValueError(f"--out: {path} is the particle file itself, which is not overwritten")
    if suffix == table.suffix:
        table.write(path, chosen)
        return
    rows = np.flatnonzero(chosen)
    if not rows.size:
        raise ValueError(f"{path}: no particle is left, so nothing is written")
    if suffix == ".pkl":
        write_indices(path, rows)
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        if suffix == ".npy":
            np.save(file, rows)
        else:
            np.savetxt(file, rows, fmt="%d")


def _describe(
    console: Console,
    path: Path,
    chosen: BoolArray,
    rows: npt.NDArray[np.int64],
    table: ParticleTable,
) -> None:
    """Says what was written, and whether it is a state or a view."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"{path}: {int(chosen.sum())} of {len(table)} particles")
    if len(rows) < len(table):
        say(f"{len(table) - len(rows)} particles have no latents and were not chosen by them.")
    among = chosen[rows]
    rotation = table_rotations(table)
    if rotation is not None and 0 < among.sum() < len(among):
        say(view_share(among, rotation[rows]).words)
    if table.micrographs is not None:
        shares = list(micrograph_shares(chosen, table.micrographs).items())
        fullest = ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares[:3])
        say(f"Micrographs that give most of their particles: {fullest}")
