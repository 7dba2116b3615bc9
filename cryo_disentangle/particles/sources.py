"""Where images and their metadata are: one reader for each kind of file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files import MrcHeader, read_mrc_header, readable
from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.locating import locate
from cryo_disentangle.particles.mapped import MappedImages
from cryo_disentangle.particles.metadata import (
    CtfOverrides,
    FractionalPoses,
    ctf_from_cryosparc,
    ctf_from_star,
    pixel_size_from_star,
    poses_from_cryosparc,
    poses_from_star,
    tells_pixel_size,
)
from cryo_disentangle.particles.star import StarParticles

__all__ = ["ParticleSource", "open_source"]

_THREADS = 16

Int32Array = npt.NDArray[np.int32]


@dataclass(frozen=True)
class ParticleSource:
    """All images of a file, and the metadata that came with them.

    Attributes:
        path: File that was opened.
        images: The mapped stacks.
        file: Which stack each image is in, shape (N,).
        slot: Its 0-based section there, shape (N,).
        pixel_size: Å per pixel of the first image, or None where nothing tells.
        poses: Poses, or None.
        ctf: CTF rows, shape (N, 9), or None.
    """

    path: Path
    images: MappedImages
    file: Int32Array
    slot: Int32Array
    pixel_size: float | None
    poses: FractionalPoses | None = None
    ctf: npt.NDArray[np.float32] | None = None


@dataclass
class _Layout:
    """Collects file and slot of each image without an object per image."""

    table: Path
    folder: Path
    names: dict[str, int] = field(default_factory=dict)
    first_row: list[int] = field(default_factory=list)

    def file(self, name: str, row: int) -> int:
        """Number of a stack, given anew at its first mention."""
        number = self.names.setdefault(name, len(self.names))
        if number == len(self.first_row):
            self.first_row.append(row)
        return number

    def headers(self) -> list[MrcHeader]:
        """Finds and checks every stack."""
        named = [
            (name, f"{self.table}, row {row}")
            for name, row in zip(self.names, self.first_row, strict=True)
        ]
        return _headers(named, self.folder)


def _headers(named: list[tuple[str, str]], folder: Path) -> list[MrcHeader]:
    """Finds and checks stacks by name and where it is mentioned; the first bad one is reported."""

    def read(mention: tuple[str, str]) -> MrcHeader:
        return read_mrc_header(locate(mention[0], folder, mention[1]))

    # All are checked now rather than in the middle of a training; on a network file system that is
    # mostly waiting.
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(read, named))


def open_source(
    path: Path, datadir: Path | None, *, with_poses: bool, with_ctf: bool
) -> ParticleSource:
    """Opens a particle file by its suffix.

    Args:
        path: ``.mrcs``, ``.mrc``, ``.star``, ``.cs`` or ``.txt``.
        datadir: Folder of the stacks that a table names, or None for the table's own.
        with_poses: Whether poses of a table are wanted.
        with_ctf: Whether CTF parameters of a table are wanted.

    Returns:
        The source.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the suffix is unknown or a file is damaged.
    """
    path = readable(path, "a particle file")
    if datadir is not None and not datadir.is_dir():
        raise FileNotFoundError(f"datadir {datadir}: no such folder")
    folder = path.parent if datadir is None else datadir
    match path.suffix.lower():
        case ".mrcs" | ".mrc":
            return _from_stacks(path, [read_mrc_header(path)])
        case ".txt":
            return _from_list(path, folder)
        case ".star":
            return _from_star(path, folder, with_poses=with_poses, with_ctf=with_ctf)
        case ".cs":
            return _from_cryosparc(path, folder, with_poses=with_poses, with_ctf=with_ctf)
    raise ValueError(
        f"{path}: unknown kind of particle file, expected .mrcs, .mrc, .star, .cs or .txt"
    )


def _from_stacks(path: Path, headers: list[MrcHeader]) -> ParticleSource:
    """All images of whole stacks, in order."""
    for header in headers:
        if header.is_cube and header.path.suffix.lower() != ".mrcs":
            raise ValueError(
                f"{header.path}: {' x '.join(map(str, header.shape))} voxels may be a 3-D map as "
                f"well as a stack of images; name it .mrcs if it is a stack"
            )
    counts = [header.shape[0] for header in headers]
    return ParticleSource(
        path,
        MappedImages(headers),
        file=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        slot=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        pixel_size=headers[0].pixel_size,
    )


def _from_list(path: Path, folder: Path) -> ParticleSource:
    """Concatenates the stacks that a text file lists."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file: {error}") from error
    named = [
        (line.strip(), f"{path}, line {row}")
        for row, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not named:
        raise ValueError(f"{path}: no stack is listed")
    return _from_stacks(path, _headers(named, folder))


def _mapped(layout: _Layout, file: Int32Array, slot: Int32Array) -> MappedImages:
    """Maps the stacks of a table and checks that every image is there."""
    headers = layout.headers()
    counts = np.array([header.shape[0] for header in headers])[file]
    bad = np.flatnonzero((slot < 0) | (slot >= counts))
    if bad.size:
        row = bad[0]
        raise ValueError(
            f"{layout.table}, row {row + 1}: image {slot[row] + 1} is out of range, "
            f"{headers[file[row]].path} has {counts[row]} images"
        )
    return MappedImages(headers)


def _parse_image_name(text: str, table: Path, row: int) -> tuple[int, str]:
    """Splits RELION's ``000017@stack.mrcs``; a bare name is its first image."""
    number, at, name = text.partition("@")
    if not at:
        return 1, text
    if not number.isdigit() or int(number) < 1 or not name:
        raise ValueError(
            f"{table}, row {row}: _rlnImageName is {text!r}, expected for example 000017@stack.mrcs"
        )
    return int(number), name


def _from_star(path: Path, folder: Path, *, with_poses: bool, with_ctf: bool) -> ParticleSource:
    """Images, poses and CTF of a RELION table."""
    table = StarParticles(path)
    layout = _Layout(path, folder)
    file = np.empty(len(table), dtype=np.int32)
    slot = np.empty(len(table), dtype=np.int32)
    for row, text in enumerate(table.particles.strings("_rlnImageName")):
        number, name = _parse_image_name(text, path, row + 1)
        file[row], slot[row] = layout.file(name, row + 1), number - 1
    images = _mapped(layout, file, slot)
    box = None if "_rlnImageSize" in table else float(images.box_size)
    poses = None
    if with_poses and "_rlnAngleRot" in table:
        poses = poses_from_star(table, box_size=box)
    ctf = None
    if with_ctf and "_rlnDefocusU" in table:
        overrides = CtfOverrides(box_size=box, pixel_size=_missing_pixel_size(table, images))
        ctf = ctf_from_star(table, overrides)
    return ParticleSource(path, images, file, slot, _star_pixel_size(table, images), poses, ctf)


def _missing_pixel_size(table: StarParticles, images: MappedImages) -> float | None:
    """Pixel size of the stack's header where the table has none."""
    header = images.headers[0]
    if tells_pixel_size(table) or header.pixel_size is None:
        return None
    warnings.warn(
        f"{table.path}: no pixel size; {header.pixel_size:g} Å of the header of {header.path} is "
        f"taken",
        stacklevel=2,
    )
    return header.pixel_size


def _star_pixel_size(table: StarParticles, images: MappedImages) -> float | None:
    """Pixel size at the box at hand, of the first particle."""
    if not tells_pixel_size(table):
        return images.headers[0].pixel_size
    pixel_size = float(pixel_size_from_star(table)[0])
    if "_rlnImageSize" in table:
        return pixel_size * float(table.numbers("_rlnImageSize")[0]) / images.box_size
    return pixel_size


def _enumerated(layout: _Layout, names: Iterable[str]) -> Int32Array:
    """Numbers the stacks of a table's rows."""
    numbers = (layout.file(name, row) for row, name in enumerate(names, start=1))
    return np.fromiter(numbers, dtype=np.int32)


def _from_cryosparc(
    path: Path, folder: Path, *, with_poses: bool, with_ctf: bool
) -> ParticleSource:
    """Images, poses and CTF of a cryoSPARC table."""
    table = CryosparcParticles(path)
    layout = _Layout(path, folder)
    file = _enumerated(layout, table.paths())
    slot = table.numbers("blob/idx").astype(np.int32)
    images = _mapped(layout, file, slot)
    poses = None
    if with_poses and "alignments3D/pose" in table:
        poses = poses_from_cryosparc(table)
    ctf = ctf_from_cryosparc(table) if with_ctf and "ctf/df1_A" in table else None
    pixel_size = images.headers[0].pixel_size
    if "blob/psize_A" in table and "blob/shape" in table:
        original = table.numbers("blob/shape", 2)[0, 0]
        pixel_size = float(table.numbers("blob/psize_A")[0] * original / images.box_size)
    return ParticleSource(path, images, file, slot, pixel_size, poses, ctf)
