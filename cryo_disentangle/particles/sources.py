"""Where images and their metadata are: one reader for each kind of file."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.mrc import MrcHeader, read_mrc_header
from cryo_disentangle.files.paths import readable
from cryo_disentangle.files.text import read_text
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.ctf import CtfOverrides, CtfTerms
from cryo_disentangle.particles.ctf_columns import has_ctf, table_ctf
from cryo_disentangle.particles.foreign import (
    refuse_tomography,
    warn_of_corrections,
    warn_of_ignored_columns,
)
from cryo_disentangle.particles.grids import Grid, grid_of
from cryo_disentangle.particles.half_sets import HalfSets, table_half_sets
from cryo_disentangle.particles.layout import Images, Layout, read_headers
from cryo_disentangle.particles.locating import Folders
from cryo_disentangle.particles.mapped import MappedImages
from cryo_disentangle.particles.pose_columns import (
    FractionalPoses,
    fractions_of_the_box,
    table_poses,
)
from cryo_disentangle.particles.star import StarParticles
from cryo_disentangle.particles.star_images import star_images

__all__ = ["ParticleSource", "Wanted", "open_source", "warn_of_header"]

_AGREEMENT = 0.02


@dataclass(frozen=True)
class Wanted:
    """Options of reading a particle table.

    Attributes:
        poses: Whether its poses are.
        ctf: Whether its CTF parameters are.
        alignments: Group of fields that poses of a ``.cs`` are read from.
        optics: Values in place of columns.
    """

    poses: bool = True
    ctf: bool = True
    alignments: str = "alignments3D"
    optics: CtfOverrides = field(default_factory=CtfOverrides)


@dataclass(frozen=True)
class ParticleSource:
    """All images of a file, and the metadata that came with them.

    Attributes:
        path: File that was opened.
        images: Where they are.
        grid: Their box and pixel sizes, as far as they are known.
        tells_grid: Whether the particle file itself tells the pixel size, rather than headers.
        uid: cryoSPARC's numbers of the particles, shape (N,), or None.
        poses: Poses, or None.
        half_sets: Those that they were refined in, or None.
        ctf: CTF rows, shape (N, 9), or None.
        terms: What is known beside them.
        positive: Whether cryoSPARC's ``blob/sign`` is +1, shape (N,); None where it is not known.
    """

    path: Path
    images: Images
    grid: Grid
    tells_grid: bool = False
    uid: npt.NDArray[np.uint64] | None = None
    poses: FractionalPoses | None = None
    half_sets: HalfSets | None = None
    ctf: npt.NDArray[np.float32] | None = None
    terms: CtfTerms = field(default_factory=CtfTerms)
    positive: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images.file)

    @property
    def pixel_size(self) -> float | None:
        """Å per pixel at the box at hand, of the first image; None where it is not known."""
        if self.grid.pixel_size is None or self.grid.box_size is None:
            return self.images.mapped.headers[0].pixel_size
        extent = self.grid.pixel_size[0] * self.grid.box_size[0]
        return float(extent / self.images.mapped.box_size)


def open_source(path: Path, datadir: Path | None, wanted: Wanted) -> ParticleSource:
    """Opens a particle file by its suffix.

    Args:
        path: ``.mrcs``, ``.mrc``, ``.star``, ``.cs`` or ``.txt``.
        datadir: Folder of the stacks that a table names, or None for the table's own.
        wanted: What is wanted of a table.

    Returns:
        The source.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the suffix is unknown, a file is damaged, or it holds no single particles.
    """
    path = readable(path, "a particle file")
    if datadir is not None and not datadir.is_dir():
        raise FileNotFoundError(f"datadir {datadir}: no such folder")
    folders = Folders.of(path, datadir)
    match path.suffix.lower():
        case ".mrcs" | ".mrc":
            return _from_stacks(path, [path.name], [read_mrc_header(path)], wanted)
        case ".txt":
            return _from_list(path, folders, wanted)
        case ".star":
            return _from_star(path, folders, wanted)
        case ".cs":
            return _from_cryosparc(path, folders, wanted)
    raise ValueError(
        f"{path}: unknown kind of particle file, expected .mrcs, .mrc, .star, .cs or .txt"
    )


def _from_stacks(
    path: Path, names: list[str], headers: list[MrcHeader], wanted: Wanted
) -> ParticleSource:
    """All images of whole stacks, in order."""
    for header in headers:
        if header.is_cube and header.path.suffix.lower() != ".mrcs":
            raise ValueError(
                f"{header.path}: {' x '.join(map(str, header.shape))} voxels may be a 3-D map as "
                f"well as a stack of images; name it .mrcs if it is a stack"
            )
    counts = [header.shape[0] for header in headers]
    images = Images(
        MappedImages(headers),
        names,
        file=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        slot=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
    )
    tells = wanted.optics.pixel_size is not None
    return ParticleSource(path, images, _grid(Grid(None, None), images, wanted), tells)


def _from_list(path: Path, folders: Folders, wanted: Wanted) -> ParticleSource:
    """Concatenates the stacks that a text file lists."""
    lines = read_text(path, "a list of stacks").splitlines()
    named = [
        (line.strip(), f"{path}, line {row}")
        for row, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not named:
        raise ValueError(f"{path}: no stack is listed")
    names = [name for name, _ in named]
    return _from_stacks(path, names, read_headers(named, folders), wanted)


def _grid(told: Grid, images: Images, wanted: Wanted) -> Grid:
    """Box and pixel sizes: as given, else of the table, else of the headers."""
    count, optics = len(images.file), wanted.optics
    box = told.box_size
    if optics.box_size is not None or box is None:
        box = np.full(count, float(optics.box_size or images.mapped.box_size))
    pixel = told.pixel_size
    if pixel is None and images.pixel_size is not None:
        # A header's pixel size is of the box at hand, which need not be the table's.
        pixel = images.pixel_size * images.mapped.box_size / box
    if optics.pixel_size is not None:
        pixel = np.full(count, float(optics.pixel_size))
    return Grid(box, pixel)


def _from_star(path: Path, folders: Folders, wanted: Wanted) -> ParticleSource:
    """Images, poses and CTF of a RELION table."""
    table = StarParticles(path)
    refuse_tomography(table)
    images = star_images(table, Layout(path, folders))
    return _with_metadata(table, images, wanted, has_poses="_rlnAngleRot" in table)


def _from_cryosparc(path: Path, folders: Folders, wanted: Wanted) -> ParticleSource:
    """Images, poses and CTF of a cryoSPARC table."""
    table = CryosparcParticles(path)
    layout = Layout(path, folders)
    file = layout.enumerate(table.paths())
    slot = table.slots()
    images = layout.images(layout.headers(), file, slot)
    has_poses = f"{wanted.alignments}/pose" in table
    if wanted.poses and not has_poses:
        _warn_of_other_poses(table, wanted.alignments)
    return _with_metadata(table, images, wanted, has_poses=has_poses)


def _with_metadata(
    table: StarParticles | CryosparcParticles, images: Images, wanted: Wanted, *, has_poses: bool
) -> ParticleSource:
    """What a table says of its images."""
    told, source = grid_of(table), str(table.path)
    grid = _grid(told, images, wanted)
    tells = told.pixel_size is not None or wanted.optics.pixel_size is not None
    poses = ctf = half_sets = None
    terms = CtfTerms()
    if wanted.poses and has_poses:
        poses = _fractions(table, wanted.alignments, told, grid)
        half_sets = table_half_sets(table, wanted.alignments)
    if wanted.ctf and has_ctf(table):
        ctf, terms = table_ctf(table, wanted.optics, grid)
    if (poses is not None or ctf is not None) and not tells:
        warn_of_header(images, source)
    if told.box_size is None and wanted.optics.pixel_size is None:
        _warn_of_other_header(told, images, source)
    warn_of_corrections(terms.ctf_applied, source)
    warn_of_ignored_columns(table)
    found = ParticleSource(
        table.path, images, grid, tells, poses=poses, half_sets=half_sets, ctf=ctf, terms=terms
    )
    if isinstance(table, CryosparcParticles):
        return replace(found, uid=table.uid(), positive=table.positive())
    return found


def _fractions(
    table: StarParticles | CryosparcParticles, alignments: str, told: Grid, grid: Grid
) -> FractionalPoses:
    """Poses of a table, their shifts as fractions of the box."""
    in_pixels = isinstance(table, CryosparcParticles) and told.pixel_size is not None
    # The ratio of two pixels of one file is the file's, whatever takes the place of one.
    own = Grid(grid.box_size, told.pixel_size) if in_pixels else grid
    return fractions_of_the_box(table_poses(table, alignments), own, str(table.path))


def warn_of_header(images: Images, source: str) -> None:
    """Warns that the pixel size is the headers'.

    Args:
        images: The images.
        source: File that has no pixel size.
    """
    header = images.mapped.headers[0]
    if header.pixel_size is not None:
        warnings.warn(
            f"{source}: no pixel size; {header.pixel_size:g} Å of the header of {header.path} is "
            "taken",
            stacklevel=5,
        )


def _warn_of_other_header(told: Grid, images: Images, source: str) -> None:
    """Warns that headers contradict a pixel size of which no box says how many pixels it is of."""
    header = images.mapped.headers[0].pixel_size
    # One is what many programs write that know no pixel size.
    if told.pixel_size is None or header in (None, 1.0):
        return
    if not np.isclose(header, told.pixel_size[0], rtol=_AGREEMENT):
        warnings.warn(
            f"{source}: pixel size {told.pixel_size[0]:g} Å is taken, though the header of "
            f"{images.mapped.headers[0].path} says {header:g} Å and no column of box sizes tells "
            "whether images were binned; if they were, give optics.pixel_size",
            stacklevel=5,
        )


def _warn_of_other_poses(table: CryosparcParticles, group: str) -> None:
    """Warns of poses under other names; refuses a name that was asked for."""
    groups = ", ".join(table.pose_groups())
    if group != Wanted.alignments:
        raise ValueError(f"{table.path}: no field {group}/pose, found poses of {groups or 'none'}")
    if groups:
        warnings.warn(
            f"{table.path}: no field {group}/pose, so no poses; there are some of {groups}: choose "
            f"with alignments (--data.alignments {table.pose_groups()[0]})",
            stacklevel=5,
        )
