"""Poses and CTF parameters in one table, images in another: joined by name, never by position."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.particles.ctf_columns import table_ctf
from cryo_disentangle.particles.foreign import (
    refuse_tomography,
    warn_of_corrections,
    warn_of_ignored_columns,
)
from cryo_disentangle.particles.grids import Grid, grid_of
from cryo_disentangle.particles.half_sets import table_half_sets
from cryo_disentangle.particles.keys import ImageNames, image_keys, numbered, rows_by_key
from cryo_disentangle.particles.pose_columns import (
    TablePoses,
    fractions_of_the_box,
    table_poses,
)
from cryo_disentangle.particles.sources import ParticleSource, warn_of_header
from cryo_disentangle.particles.star import StarParticles

__all__ = ["is_table", "with_ctf_of", "with_poses_of"]

Table = StarParticles | CryosparcParticles
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class _Names:
    """What particles are called.

    Attributes:
        images: Their images; no files where images are not named.
        count: How many there are.
        uid: cryoSPARC's numbers, shape (N,), or None.
    """

    images: ImageNames
    count: int
    uid: npt.NDArray[np.uint64] | None


def is_table(path: object) -> bool:
    """Returns whether a file is a table that names its particles.

    Args:
        path: A path, or anything else.

    Returns:
        Whether it ends in ``.star`` or ``.cs``.
    """
    return isinstance(path, str | Path) and Path(path).suffix.lower() in (".star", ".cs")


def with_poses_of(
    source: ParticleSource, path: Path, alignments: str = "alignments3D"
) -> ParticleSource:
    """Takes poses from another table.

    Args:
        source: Particles.
        path: ``.star`` or ``.cs``.
        alignments: Group of fields that poses of a ``.cs`` are read from.

    Returns:
        The particles with its poses. Shifts are converted by what the table says of its own pixels,
        so that it may be of images binned otherwise.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no poses, or lacks a particle.
    """
    table, rows = _matched(source, path)
    found = table_poses(table, alignments)
    own = grid_of(table).take(rows)
    shift = None if found.shift is None else found.shift[rows]
    unit = None if found.unit is None else found.unit[rows]
    if unit is None and shift is not None:
        if own.pixel_size is not None:
            unit = own.pixel_size
        elif own.box_size is not None and source.grid.box_size is not None:
            shift = shift * (source.grid.box_size / own.box_size)[:, None]
    poses = TablePoses(found.rotation[rows], shift, unit, found.columns)
    grid = _grid(source, own, str(path))
    half_sets = table_half_sets(table, alignments)
    return replace(
        source,
        poses=fractions_of_the_box(poses, grid, str(path)),
        half_sets=None if half_sets is None else half_sets.take(rows),
    )


def with_ctf_of(source: ParticleSource, path: Path, optics: CtfOverrides) -> ParticleSource:
    """Takes CTF parameters from another table.

    Args:
        source: Particles.
        path: ``.star`` or ``.cs``.
        optics: Values in place of columns.

    Returns:
        The particles with its CTF.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it has no CTF parameters, or lacks a particle.
    """
    table, rows = _matched(source, path)
    own = grid_of(table)
    grid = _grid(source, own.take(rows), str(path))
    # Read in the table's order, with the images' box and pixel size put in afterwards.
    stand_in = Grid(np.full(len(table), 2.0), np.ones(len(table)))
    ctf, terms = table_ctf(table, replace(optics, box_size=None, pixel_size=None), stand_in)
    if grid.box_size is None or grid.pixel_size is None:
        raise ValueError(
            f"{path}: no pixel size, nor in {source.path}; add it to the file, or give "
            "optics.pixel_size (--data.optics.pixel_size)"
        )
    terms, ctf = terms.take(rows), ctf[rows]
    warn_of_corrections(terms.ctf_applied, str(path))
    warn_of_ignored_columns(table)
    ctf[:, 0], ctf[:, 1] = grid.box_size, grid.pixel_size
    return replace(source, ctf=ctf, terms=terms)


def _grid(source: ParticleSource, own: Grid, path: str) -> Grid:
    """Box and pixel sizes: the particle file's, else the other table's, else the headers'."""
    if source.tells_grid:
        return source.grid
    if own.pixel_size is None:
        warn_of_header(source.images, path)
        return source.grid
    if own.box_size is not None:
        return own
    header = source.images.pixel_size
    if header is None:
        return replace(source.grid, pixel_size=own.pixel_size)
    # One is what many programs write that know no pixel size.
    apart = np.flatnonzero((header != 1) & ~np.isclose(header, own.pixel_size, rtol=0.02))
    if apart.size:
        raise ValueError(
            f"{path}: pixel size {own.pixel_size[apart[0]]:g} Å and no box size, and headers of "
            f"{source.path} say {header[apart[0]]:g} Å: give that of the images, optics.pixel_size "
            "(--data.optics.pixel_size)"
        )
    return replace(source.grid, pixel_size=own.pixel_size)


def _matched(source: ParticleSource, path: Path) -> tuple[Table, Rows]:
    """The other table, and its row of each image."""
    if path.suffix.lower() == ".cs":
        cs = CryosparcParticles(path)
        return cs, _match(_names(source), _Names(_cryosparc_names(cs), len(cs), cs.uid()))
    star = StarParticles(path)
    refuse_tomography(star)
    named = "_rlnImageName" in star.particles
    texts = star.particles.strings("_rlnImageName") if named else ()
    theirs = _Names(ImageNames.of(texts, path), len(star), None)
    return star, _match(_names(source), theirs)


def _names(source: ParticleSource) -> _Names:
    """What the images are called."""
    images = source.images
    file, slot = images.file.astype(np.int64), images.slot.astype(np.int64)
    return _Names(ImageNames(source.path, images.names, file, slot), len(source), source.uid)


def _cryosparc_names(table: CryosparcParticles) -> ImageNames:
    """Image names of a ``.cs``, none where it has no images."""
    if "blob/path" not in table or "blob/idx" not in table:
        return ImageNames.of((), table.path)
    return ImageNames(table.path, *numbered(table.paths()), table.slots())


def _match(ours: _Names, theirs: _Names) -> Rows:
    """Row of the other table for each of our particles."""
    path, table = ours.images.path, theirs.images.path
    if ours.uid is not None and theirs.uid is not None:
        _refuse_shared_uids(ours.uid, ours.images)
        return rows_by_key(ours.uid, theirs.uid, "uid", table, f"particles of {path}")
    if ours.images.files and theirs.images.files:
        keys = image_keys(ours.images, theirs.images)
        named = f"particles of {path}"
        return rows_by_key(*keys, "image name", table, named, ours.images.text)
    if (
        theirs.uid is None
        and not theirs.images.files
        and ours.uid is None
        and theirs.count == ours.count
    ):
        warnings.warn(
            f"{table}: neither uid nor image names, and none of {path} to compare them "
            "with: its rows are taken in order, as those of a poses.pkl",
            stacklevel=6,
        )
        return np.arange(ours.count)
    raise ValueError(
        f"{table}: its particles have no names in common with {path}, which has "
        f"{'uid and ' if ours.uid is not None else ''}image names; expected the field uid or image "
        "names, as rows are never matched by position"
    )


def _refuse_shared_uids(uids: npt.NDArray[np.uint64], images: ImageNames) -> None:
    """Refuses different images of one uid, which could not both have the other table's row."""
    order = np.lexsort((images.slot, images.file, uids))
    uid, file, slot = uids[order], images.file[order], images.slot[order]
    differ = (file[1:] != file[:-1]) | (slot[1:] != slot[:-1])
    shared = np.flatnonzero((uid[1:] == uid[:-1]) & differ)
    if shared.size:
        first, second = sorted((int(order[shared[0]]) + 1, int(order[shared[0] + 1]) + 1))
        raise ValueError(
            f"{images.path}: rows {first} and {second} are different images of one uid, "
            f"{uid[shared[0]]}: particles cannot be matched by it"
        )
