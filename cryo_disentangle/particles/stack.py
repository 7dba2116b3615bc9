"""One way to open particle stacks, whatever files they come in."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.geometry import check_rotations
from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.metadata import check_ctf
from cryo_disentangle.particles.pickles import read_ctf, read_indices, read_poses
from cryo_disentangle.particles.sources import ParticleSource, open_source
from cryo_disentangle.types import Pose

__all__ = ["ParticleStack"]

_ROWS_PER_CHECK = 2**18


class ParticleStack:
    """Particle images with what is known of them, read on demand.

    Use `ParticleStack.open`.

    Args:
        source: Images and the metadata that came with them.
        indices: 0-based selection of the source's images, shape (N,), order kept; None for all.

    Attributes:
        path: File that was opened.
        box_size: Image side D in pixels.
        pixel_size: Å per pixel, of the first particle where they differ.
        rotation: Shape (N, 3, 3), float32, as in `Pose`; None where not known.
        translation: Shape (N, 2), float32, (x, y) in pixels as in `Pose`; None where not known.
        ctf: Shape (N, 9), float32, columns as in `ParticleBatch`; None where not known.
        labels: Times, trajectories, temperatures and true factors, as far as they are known.
    """

    def __init__(
        self, source: ParticleSource, indices: npt.NDArray[np.int64] | None = None
    ) -> None:
        self.path = source.path
        self._images = source.images
        self._files = [str(header.path) for header in source.images.headers]
        chosen: slice | npt.NDArray[np.int64] = slice(None) if indices is None else indices
        self._file, self._slot = source.file[chosen], source.slot[chosen]
        self.box_size = source.images.box_size
        self.rotation: npt.NDArray[np.float32] | None = None
        self.translation: npt.NDArray[np.float32] | None = None
        if source.poses is not None:
            self._set_poses(
                source.poses.rotation[chosen],
                # Tables hold fractions of the box, so pixels at hand are fractions times D.
                source.poses.translation[chosen] * self.box_size,
            )
        self.ctf: npt.NDArray[np.float32] | None = None
        if source.ctf is not None:
            self.ctf = source.ctf[chosen]
        self.labels = ParticleLabels()
        self._source_pixel_size = source.pixel_size
        self._tolerant = False

    @classmethod
    def open(
        cls,
        particles: str | Path,
        *,
        poses: str | Path | Pose | None = None,
        ctf: str | Path | None = None,
        labels: str | Path | None = None,
        indices: str | Path | npt.ArrayLike | None = None,
        datadir: str | Path | None = None,
    ) -> ParticleStack:
        """Opens particles.

        Poses and CTF of a ``.star`` or ``.cs`` are used unless pickles are given. Translations of
        such a table become pixels exactly, times D; those of ``poses.pkl`` are multiplied by D + 1,
        as cryoDRGN does with its pickles.

        Args:
            particles: ``.mrcs``, ``.mrc``, ``.star`` (RELION 3.0, 3.1, 5), ``.cs``, or ``.txt``
                with one stack a line.
            poses: cryoDRGN's ``poses.pkl``: a row for each image of the file, or, if it has as
                many rows as ``indices``, for each selected one. Or the poses themselves, whose
                translations are in pixels.
            ctf: cryoDRGN's ``ctf.pkl``, likewise.
            labels: Archive of labels as `read_labels` takes it, likewise.
            indices: 0-based selection, order kept: an array, or a file as `read_indices` takes it.
            datadir: Folder of the stacks that a table names; by default the table's own.

        Returns:
            The stack.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged, or counts, box sizes or values make no sense.
        """
        source = open_source(
            Path(particles),
            None if datadir is None else Path(datadir),
            with_poses=poses is None,
            with_ctf=ctf is None,
        )
        total = len(source.file)
        chosen = None if indices is None else _selection(indices, total, source.path)
        stack = cls(source, chosen)
        if poses is not None:
            rotation, shift = _pose_arrays(poses, stack.box_size)
            origin = "poses" if isinstance(poses, Pose) else str(poses)
            rows = _rows(len(rotation), chosen, total, len(stack), origin)
            stack._set_poses(rotation[rows], None if shift is None else shift[rows], source=origin)
        if ctf is not None:
            values = read_ctf(ctf)
            values = values[_rows(len(values), chosen, total, len(stack), ctf)]
            stack.ctf = check_ctf(values, str(ctf))
        if labels is not None:
            known = read_labels(labels)
            stack.labels = known.take(_rows(len(known), chosen, total, len(stack), labels))
        stack._warn_about_pixel_sizes()
        return stack

    def tolerant(self) -> ParticleStack:
        """Returns the same stack, which delivers an image that `read` refuses as NaN throughout.

        What it delivers must be looked at before it is used, as `NonFiniteGuard` does.
        """
        other = copy.copy(self)
        other._tolerant = True
        return other

    def __len__(self) -> int:
        """Number of (selected) images."""
        return len(self._file)

    @property
    def pixel_size(self) -> float:
        """Å per pixel at the box at hand: of the CTF, else the table, else the header, else 1."""
        if self.ctf is not None:
            return float(self.ctf[0, 0] * self.ctf[0, 1] / self.box_size)
        return self._source_pixel_size or 1.0

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Reads images.

        Args:
            indices: 0-based rows of this stack, shape (B,), in any order.

        Returns:
            Shape (B, D, D), axes y, x, in the order asked for.

        Raises:
            IndexError: If an index is out of range.
            ValueError: If an image is constant or has a value that is not finite.
        """
        rows = np.asarray(indices, dtype=np.int64)
        if rows.size and not 0 <= rows.min() <= rows.max() < len(self):
            bad = rows[(rows < 0) | (rows >= len(self))][0]
            raise IndexError(f"{self.path}: index {bad} is out of range for {len(self)} images")
        images = self._images.read(self._file[rows], self._slot[rows])
        low, high = images.min(axis=(1, 2)), images.max(axis=(1, 2))
        # NaN passes through minimum and maximum, and no comparison with it is true.
        bad_rows = np.flatnonzero(~(low < high) | ~np.isfinite(high) | ~np.isfinite(low))
        if self._tolerant:
            images[bad_rows] = np.nan
        elif bad_rows.size:
            position = int(bad_rows[0])
            what = (
                f"is constant ({low[position]:g})"
                if low[position] == high[position]
                else "has values that are not finite"
            )
            raise ValueError(f"image {self.name(int(rows[position]))} {what}")
        return images

    def prefetch(self, indices: npt.ArrayLike) -> None:
        """Lets the operating system read images ahead into its cache, and does not wait for it.

        Args:
            indices: 0-based rows of this stack, shape (B,), in any order.
        """
        rows = np.asarray(indices, dtype=np.int64)
        self._images.prefetch(self._file[rows], self._slot[rows])

    def name(self, index: int) -> str:
        """Names an image as RELION does.

        Args:
            index: 0-based row of this stack.

        Returns:
            For example ``17@folder/stack.mrcs``, counted from 1.
        """
        return f"{int(self._slot[index]) + 1}@{self._files[int(self._file[index])]}"

    def _set_poses(
        self,
        rotation: npt.NDArray[np.floating[Any]],
        translation_px: npt.NDArray[np.floating[Any]] | None,
        source: str | None = None,
    ) -> None:
        """Checks and keeps poses; in chunks, so that the check needs no copy of them all."""
        for start in range(0, len(rotation), _ROWS_PER_CHECK):
            # A pickle may hold another machine's byte order, which torch does not take.
            chunk = rotation[start : start + _ROWS_PER_CHECK].astype(np.float64)
            check_rotations(torch.from_numpy(chunk), source or str(self.path))
        self.rotation = rotation.astype(np.float32)
        self.translation = None if translation_px is None else translation_px.astype(np.float32)

    def _warn_about_pixel_sizes(self) -> None:
        """Tells once that volumes will have the pixel size of the first particle."""
        if self.ctf is None:
            return
        sizes = self.ctf[:, 0] * self.ctf[:, 1] / self.box_size
        if sizes.max() - sizes.min() > 1e-3 * sizes[0]:
            warnings.warn(
                f"{self.path}: pixel sizes differ ({sizes.min():.4g} to {sizes.max():.4g} Å); each "
                f"CTF has its own, volumes have that of the first particle, {sizes[0]:.4g} Å",
                stacklevel=3,
            )


def _pose_arrays(
    poses: str | Path | Pose, box_size: int
) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """Rotations, and translations in pixels."""
    if isinstance(poses, Pose):
        shift = poses.translation
        return poses.rotation.numpy(), None if shift is None else shift.numpy()
    rotation, fraction = read_poses(poses)
    return rotation, None if fraction is None else fraction * np.float32(box_size + 1)


def _selection(
    indices: str | Path | npt.ArrayLike, total: int, particles: Path
) -> npt.NDArray[np.int64]:
    """Reads and checks a selection of images."""
    if isinstance(indices, str | Path):
        origin, values = str(indices), read_indices(indices)
    else:
        origin, array = "indices", np.asarray(indices)
        if array.ndim != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"indices must be integers in one dimension, found shape {array.shape} of "
                f"{array.dtype}"
            )
        values = array.astype(np.int64)
    if not values.size:
        raise ValueError(f"{origin}: no image is selected")
    bad = np.flatnonzero((values < 0) | (values >= total))
    if bad.size:
        raise ValueError(
            f"{origin}, entry {bad[0] + 1}: index {values[bad[0]]} is out of range, {particles} "
            f"has {total} images (0 to {total - 1})"
        )
    return values


def _rows(
    n_rows: int,
    chosen: npt.NDArray[np.int64] | None,
    total: int,
    n_selected: int,
    path: str | Path,
) -> slice | npt.NDArray[np.int64]:
    """Rows of a file that belong to the selected images."""
    if n_rows == n_selected:
        return slice(None)
    if n_rows == total and chosen is not None:
        return chosen
    expected = f"{total}" if chosen is None else f"{n_selected} (selected) or {total} (all)"
    raise ValueError(f"{path}: {n_rows} rows, expected one for each image: {expected}")
