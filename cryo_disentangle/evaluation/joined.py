"""Latents of any program, joined with what is known of their particles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.ctf_columns import has_ctf, table_ctf
from cryo_disentangle.particles.pickles import read_ctf, read_poses
from cryo_disentangle.particles.pose_columns import table_poses
from cryo_disentangle.particles.star import StarParticles
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.particle_table import ParticleTable, open_particle_table

__all__ = ["JoinedLatents", "join_latents"]

_TABLES = (".star", ".cs")
_ASK = "no {what} are known: give the particle file by --particles, or {option}"

Array = npt.NDArray[Any]
Table = StarParticles | CryosparcParticles


@dataclass(frozen=True)
class JoinedLatents:
    """Latents and what is known of their particles, a row each.

    Attributes:
        embedding: The latents.
        particles: The same with poses, CTF and shifts.
        groups: Whole numbers that name the group of each particle, shape (n,), by what they group.
        table: Particle file that they were joined with, or None.
        sources: Where each kind of knowledge comes from.
        missing: Why other kinds are not there.
    """

    embedding: Embedding
    particles: InferredParticles
    groups: dict[str, Array]
    table: ParticleTable | None = None
    sources: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def join_latents(embedding: Embedding, files: DataFiles | None = None) -> JoinedLatents:
    """Joins latents with poses, shifts, CTF, optics groups and micrographs.

    Poses are those of ``files``, else those the run ended with, else the particle file's.

    Args:
        embedding: Latents of a run.
        files: Where particles lie; without a particle file the one that the run names is taken
            where it is there.

    Returns:
        The table of particles.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, or its rows cannot be joined to the latents.
    """
    files = files or DataFiles()
    path = files.particles or _named_table(embedding)
    joining = _Joining(embedding, path)
    joining.poses(files.poses)
    joining.ctf(files.ctf)
    joining.group()
    covariance = embedding.covariance
    width = None if covariance is None else _log_variance(embedding, covariance)
    names = embedding.image_names
    rows = embedding.rows if joining.rows is None else joining.rows
    particles = InferredParticles.of(
        embedding.latents,
        width,
        joining.rotation,
        rows,
        None if names is None else names.tolist(),
        **joining.labels,
    )
    if covariance is not None:
        particles = replace(particles, covariance=torch.as_tensor(covariance))
    return JoinedLatents(
        embedding, particles, joining.groups, joining.table, joining.sources, joining.missing
    )


def _named_table(embedding: Embedding) -> Path | None:
    """Particle file that the run names, or that its poses are in, where it is there."""
    folder = embedding.source.parent
    named = [] if embedding.particles is None else [Path(embedding.particles)]
    places = [place for path in named for place in (path, folder / path)]
    if embedding.poses is not None:
        places.append(embedding.poses.source)
    return next((p for p in places if p.suffix.lower() in _TABLES and p.is_file()), None)


def _log_variance(embedding: Embedding, covariance: Array) -> Array:
    """Logarithm of the marginal variances, shape (n, Z)."""
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    bad = np.flatnonzero(~(variance > 0).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{embedding.source}: {bad.size} of {len(variance)} covariances have a variance that "
            f"is not positive, the first in row {bad[0] + 1}"
        )
    return np.asarray(np.log(variance))


class _Joining:
    """Collects what is known of the particles of an embedding."""

    def __init__(self, embedding: Embedding, path: Path | None) -> None:
        self.embedding = embedding
        self.table = None if path is None else open_particle_table(path)
        self.rows = None if self.table is None else rows_in_table(embedding, self.table)
        self.columns = None if path is None else _columns(path)
        self.rotation: Array | None = None
        self.labels: dict[str, Array] = {}
        self.groups: dict[str, Array] = {}
        self.sources: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        if self.table is not None:
            self.sources["particle file"] = str(self.table.path)

    def poses(self, path: Path | None) -> None:
        """Finds rotations and shifts."""
        moved: Array | None = None
        own = self.embedding.poses
        if path is not None:
            self.rotation, moved = self._poses_of(path)
            self.sources["poses"] = str(path)
        elif own is not None:
            self.rotation, moved = own.rotation, own.translation
            self.sources["poses"] = str(own.source)
        elif self.columns is not None and self.rows is not None:
            self._attempt("pose_leak", self._table_poses)
            return
        else:
            self.missing["pose_leak"] = _ASK.format(what="poses", option="poses by --poses")
        self._shift(moved)

    def _table_poses(self) -> None:
        columns, rows = self._joined()
        found = table_poses(columns)
        self.rotation = found.rotation[rows]
        self.sources["poses"] = str(columns.path)
        self._shift(None if found.shift is None else found.shift[rows])

    def _shift(self, moved: Array | None) -> None:
        if moved is None:
            self.missing["shift_leak"] = "no shifts are known"
        else:
            self.labels["translation"] = moved

    def _poses_of(self, path: Path) -> tuple[Array, Array | None]:
        """Poses of another file, in the order of the latents."""
        if path.suffix.lower() in _TABLES:
            rows = rows_in_table(self.embedding, open_particle_table(path))
            found = table_poses(_columns(path))
            return found.rotation[rows], None if found.shift is None else found.shift[rows]
        rotation, moved = read_poses(path, in_pixels=True)
        rows = self._rows_of(len(rotation), path)
        return rotation[rows], None if moved is None else moved[rows]

    def ctf(self, path: Path | None) -> None:
        """Finds CTF parameters."""
        if path is not None:
            values = read_ctf(path)
            self.labels["ctf"] = values[self._rows_of(len(values), path)]
            self.sources["CTF"] = str(path)
        elif self.columns is not None and has_ctf(self.columns):
            self._attempt("defocus_leak", self._table_ctf)
        else:
            self.missing["defocus_leak"] = _ASK.format(what="defoci", option="ctf.pkl by --ctf")

    def _table_ctf(self) -> None:
        columns, rows = self._joined()
        self.labels["ctf"] = table_ctf(columns)[0][rows]
        self.sources["CTF"] = str(columns.path)

    def group(self) -> None:
        """Finds optics groups and micrographs."""
        found: dict[str, Array | None] = {"optics_group": None, "micrograph": None}
        if self.columns is not None and self.table is not None and self.rows is not None:
            label = "_rlnOpticsGroup"
            if isinstance(self.columns, CryosparcParticles):
                label = "ctf/exp_group_id"
            if label in self.columns:
                found["optics_group"] = self.columns.numbers(label)[self.rows]
            names = self.table.micrographs
            found["micrograph"] = None if names is None else names[self.rows]
        for name, values in found.items():
            words = name.replace("_", " ")
            if values is None:
                self.missing[f"{name}_leak"] = f"no {words} is known of the particles"
                continue
            numbers = np.unique(values, return_inverse=True)[1].astype(np.int64)
            if numbers.max() == 0:
                self.missing[f"{name}_leak"] = f"all particles are of one {words}"
            else:
                self.groups[name] = numbers

    def _rows_of(self, count: int, path: Path) -> Array:
        """Rows of a file without names that belong to the latents."""
        size, rows = len(self.embedding), self.rows
        if rows is None:
            rows = self.embedding.rows
        if rows is None:
            raise ValueError(
                f"{path}: {self.embedding.source} does not say which of its rows the latents "
                "belong to; give the particle file by --particles"
            )
        total = None if self.table is None else len(self.table)
        if count == total or (total is None and rows.max() < count != size):
            return rows
        # Of a selection: filtered as the latents are.
        if count == size and (rows.max() >= count or _in_order(rows)):
            return np.arange(size)
        expected = " or ".join(str(n) for n in (size, total) if n is not None)
        raise ValueError(
            f"{path}: {count} rows, expected {expected}, one for each latent or particle; give the "
            "particle file by --particles"
        )

    def _joined(self) -> tuple[Table, Array]:
        if self.columns is None or self.rows is None:
            raise ValueError("there is no particle file")
        return self.columns, self.rows

    def _attempt(self, what: str, read: Callable[[], None]) -> None:
        """Reads columns; what the file lacks is said rather than refused."""
        try:
            read()
        except ValueError as error:
            self.missing[what] = str(error)


def _in_order(rows: Array) -> bool:
    """Whether rows count from 0."""
    return bool(np.array_equal(rows, np.arange(len(rows))))


def _columns(path: Path) -> Table:
    """The same file as numbers."""
    return CryosparcParticles(path) if path.suffix.lower() == ".cs" else StarParticles(path)
