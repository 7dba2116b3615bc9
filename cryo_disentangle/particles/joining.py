"""Poses and CTF parameters in one table, images in another: joined by name, never by position."""

from __future__ import annotations

import posixpath
import warnings
from collections.abc import Callable, Iterable
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
from cryo_disentangle.particles.locating import plain_name, without_uid
from cryo_disentangle.particles.pose_columns import (
    TablePoses,
    fractions_of_the_box,
    table_poses,
)
from cryo_disentangle.particles.sources import ParticleSource, warn_of_header
from cryo_disentangle.particles.star import StarParticles
from cryo_disentangle.particles.star_images import parse_image_name

__all__ = ["is_table", "with_ctf_of", "with_poses_of"]

Table = StarParticles | CryosparcParticles
Rows = npt.NDArray[np.int64]
# Larger than any slot of a stack, so that file and slot make one number.
_SLOTS = 2**31


@dataclass(frozen=True)
class _Names:
    """What particles are called.

    Attributes:
        path: File that names them.
        count: How many there are.
        uid: cryoSPARC's numbers, shape (N,), or None.
        files: Names of stacks; none where images are not named.
        file: Which of them each image is in, shape (N,).
        slot: Its 0-based place there, shape (N,).
    """

    path: Path
    count: int
    uid: npt.NDArray[np.uint64] | None
    files: list[str]
    file: Rows
    slot: Rows


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
    return replace(source, poses=fractions_of_the_box(poses, grid, str(path)))


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
        files, file, slot = _cryosparc_names(cs)
        theirs = _Names(path, len(cs), cs.uid(), files, file, slot)
        return cs, _match(_names(source), theirs)
    star = StarParticles(path)
    refuse_tomography(star)
    files, file, slot = _star_names(star)
    theirs = _Names(path, len(star), None, files, file, slot)
    return star, _match(_names(source), theirs)


def _names(source: ParticleSource) -> _Names:
    """What the images are called."""
    images = source.images
    file, slot = images.file.astype(np.int64), images.slot.astype(np.int64)
    return _Names(source.path, len(source), source.uid, images.names, file, slot)


def _numbered(names: Iterable[str]) -> tuple[list[str], Rows]:
    """Different names, and which of them each row has."""
    numbers: dict[str, int] = {}
    file = [numbers.setdefault(name, len(numbers)) for name in names]
    return list(numbers), np.array(file, dtype=np.int64)


def _cryosparc_names(table: CryosparcParticles) -> tuple[list[str], Rows, Rows]:
    """Image names of a ``.cs``, none where it has no images."""
    if "blob/path" not in table or "blob/idx" not in table:
        return [], np.empty(0, np.int64), np.empty(0, np.int64)
    return *_numbered(table.paths()), table.slots()


def _star_names(table: StarParticles) -> tuple[list[str], Rows, Rows]:
    """Image names of a STAR file, none where it has none."""
    if "_rlnImageName" not in table.particles:
        return [], np.empty(0, np.int64), np.empty(0, np.int64)
    parsed = [
        parse_image_name(text, table.path, row)
        for row, text in enumerate(table.particles.strings("_rlnImageName"), start=1)
    ]
    files, file = _numbered(name for _, name in parsed)
    return files, file, np.array([max(number, 1) - 1 for number, _ in parsed], dtype=np.int64)


def _match(ours: _Names, theirs: _Names) -> Rows:
    """Row of the other table for each of our particles."""
    if ours.uid is not None and theirs.uid is not None:
        _refuse_shared_uids(ours)
        return _find(ours.uid, theirs.uid, ours, theirs, "uid")
    if ours.files and theirs.files:
        mine, others = _image_keys(ours, theirs)
        return _find(mine, others, ours, theirs, "image name")
    if theirs.uid is None and not theirs.files and ours.uid is None and theirs.count == ours.count:
        warnings.warn(
            f"{theirs.path}: neither uid nor image names, and none of {ours.path} to compare them "
            "with: its rows are taken in order, as those of a poses.pkl",
            stacklevel=6,
        )
        return np.arange(ours.count)
    raise ValueError(
        f"{theirs.path}: nothing names its particles that {ours.path} knows, which has "
        f"{'uid and ' if ours.uid is not None else ''}image names; expected the field uid or image "
        "names, as rows are never matched by position"
    )


def _refuse_shared_uids(ours: _Names) -> None:
    """Refuses different images of one uid, which could not both have the other table's row."""
    if ours.uid is None:
        return
    order = np.lexsort((ours.slot, ours.file, ours.uid))
    uid, image = ours.uid[order], ours.file[order] * _SLOTS + ours.slot[order]
    shared = np.flatnonzero((uid[1:] == uid[:-1]) & (image[1:] != image[:-1]))
    if shared.size:
        first, second = sorted((int(order[shared[0]]) + 1, int(order[shared[0] + 1]) + 1))
        raise ValueError(
            f"{ours.path}: rows {first} and {second} are different images of one uid, "
            f"{uid[shared[0]]}: particles cannot be matched by it"
        )


def _find(
    mine: npt.NDArray[np.integer],
    others: npt.NDArray[np.integer],
    ours: _Names,
    theirs: _Names,
    what: str,
) -> Rows:
    """Place of each key among the others; refuses missing and repeated ones."""
    order = np.argsort(others, kind="stable")
    ordered = others[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if twice.size:
        first, second = sorted((int(order[twice[0]]) + 1, int(order[twice[0] + 1]) + 1))
        raise ValueError(f"{theirs.path}: rows {first} and {second} have the same {what}")
    place = np.searchsorted(ordered, mine).clip(max=len(ordered) - 1)
    missing = np.flatnonzero(ordered[place] != mine)
    if missing.size:
        row = int(missing[0])
        value = str(mine[row])
        if what != "uid":
            value = f"{ours.slot[row] + 1}@{ours.files[ours.file[row]]}"
        raise ValueError(
            f"{theirs.path}: no row for {what} {value} (row {row + 1} of {ours.path}); "
            f"{len(missing)} of {ours.count} particles are missing there"
        )
    return order[place]


def _image_keys(ours: _Names, theirs: _Names) -> tuple[Rows, Rows]:
    """Numbers of images that are equal where names are.

    Whole names are compared where all of ours are among theirs, else the last parts, without
    cryoSPARC's numbers and suffixes; these must tell stacks apart.
    """
    spell: Callable[[str], str] = plain_name
    known = {spell(name) for name in theirs.files}
    if not {spell(name) for name in ours.files} <= known:
        spell = _last_part
        for side in (ours, theirs):
            _refuse_namesakes(side)
    numbers = {name: number for number, name in enumerate(map(spell, theirs.files))}

    def keys(side: _Names) -> Rows:
        of_file = np.array([numbers.get(spell(name), -1) for name in side.files], dtype=np.int64)
        return of_file[side.file] * _SLOTS + side.slot

    return keys(ours), keys(theirs)


def _last_part(name: str) -> str:
    """File's name alone, without cryoSPARC's number and without suffix."""
    return posixpath.splitext(without_uid(posixpath.basename(plain_name(name))))[0]


def _refuse_namesakes(side: _Names) -> None:
    """Refuses stacks that differ by their folders alone."""
    first: dict[str, str] = {}
    for name in side.files:
        other = first.setdefault(_last_part(name), name)
        if plain_name(other) != plain_name(name):
            raise ValueError(
                f"{side.path}: {other} and {name} have the same last part, so that images cannot "
                "be matched by it; give tables whose image names agree"
            )
