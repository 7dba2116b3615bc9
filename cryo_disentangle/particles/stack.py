"""One way to open particle stacks, whatever files they come in."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.files.memory import return_freed_memory
from cryo_disentangle.geometry.rotations import check_rotations
from cryo_disentangle.particles.ctf import CtfOverrides, overridden
from cryo_disentangle.particles.joining import is_table, with_ctf_of, with_poses_of
from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.pickles import read_ctf, read_poses
from cryo_disentangle.particles.selection import Selection
from cryo_disentangle.particles.sources import ParticleSource, Wanted, open_source
from cryo_disentangle.types import Pose

__all__ = ["ParticleStack"]

_ROWS_PER_CHECK = 2**18
_NO_OVERRIDES = CtfOverrides()


class ParticleStack:
    """Particle images with what is known of them, read on demand.

    Use `ParticleStack.open`.

    Args:
        source: Images and the metadata that came with them.
        selection: Which of its images are taken; None for all.

    Attributes:
        path: File that was opened.
        selection: Which of its images these are, and whose rows of other files belong to them.
        box_size: Image side D in pixels.
        pixel_size: Å per pixel, of the first particle where they differ.
        rotation: Shape (N, 3, 3), float32, as in `Pose`; None where not known.
        translation: Shape (N, 2), float32, (x, y) in pixels as in `Pose`; None where not known.
        half_sets: Those that the poses were refined in; None where not known.
        ctf: Shape (N, 9), float32, columns as in `ParticleBatch`; None where not known.
        ctf_terms: What is known of the CTF beside these columns.
        positive: Whether cryoSPARC's ``blob/sign`` is +1, that is, images are the CTF times the
            projection as they are; None where it is not known.
        labels: Times, trajectories, temperatures and true factors, as far as they are known.

    Raises:
        ValueError: If ``blob/sign`` differs between particles.
    """

    def __init__(self, source: ParticleSource, selection: Selection | None = None) -> None:
        self.path = source.path
        images = source.images
        self._images, self._names = images.mapped, images.names
        self.selection = selection or Selection(None, len(source), source.path)
        chosen = self.selection.of(len(source), source.path, of_whole_file=True)
        self._file, self._slot = images.file[chosen], images.slot[chosen]
        self.box_size = images.mapped.box_size
        self.rotation: npt.NDArray[np.float32] | None = None
        self.translation: npt.NDArray[np.float32] | None = None
        if source.poses is not None:
            self._set_poses(
                source.poses.rotation[chosen],
                # Tables hold fractions of the box, so pixels at hand are fractions times D.
                source.poses.translation[chosen] * self.box_size,
            )
        self.half_sets = None if source.half_sets is None else source.half_sets.take(chosen)
        self.ctf: npt.NDArray[np.float32] | None = None
        if source.ctf is not None:
            self.ctf = source.ctf[chosen]
        self.ctf_terms = source.terms.take(chosen)
        self.positive = None if source.positive is None else self._one_sign(source.positive[chosen])
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
        alignments: str = "alignments3D",
        optics: CtfOverrides = _NO_OVERRIDES,
    ) -> ParticleStack:
        """Opens particles.

        Poses and CTF of a ``.star`` or ``.cs`` are used unless other files are given. Translations
        of such a table become pixels exactly, times D; those of ``poses.pkl`` are multiplied by
        D + 1, as cryoDRGN does with its pickles.

        Args:
            particles: ``.mrcs``, ``.mrc``, ``.star`` (RELION 3.0, 3.1, 5), ``.cs``, or ``.txt``
                with one stack a line.
            poses: A ``.star`` or ``.cs`` with a row for each particle, found by cryoSPARC's uid or
                by image name; or cryoDRGN's ``poses.pkl``: a row for each image of the file, or, if
                it has as many rows as ``indices``, for each selected one. Or the poses themselves,
                whose translations are in pixels.
            ctf: A ``.star`` or ``.cs``, likewise, or cryoDRGN's ``ctf.pkl``.
            labels: Archive of labels as `read_labels` takes it, with rows as of ``poses.pkl``.
            indices: 0-based selection, order kept: an array, or a file as `read_indices` takes it.
            datadir: Folder of the stacks that a table names; by default the table's own, and those
                above it.
            alignments: Group of fields that poses of a ``.cs`` are read from.
            optics: Values in place of those of files.

        Returns:
            The stack.

        Raises:
            FileNotFoundError: If a file is missing.
            ValueError: If a file is damaged, or counts, box sizes or values make no sense.
        """
        wanted = Wanted(poses is None, ctf is None, alignments, optics)
        folder = None if datadir is None else Path(datadir)
        source = open_source(Path(particles), folder, wanted)
        if isinstance(poses, str | Path) and is_table(poses):
            source, poses = with_poses_of(source, Path(poses), alignments), None
        if ctf is not None and is_table(ctf):
            source, ctf = with_ctf_of(source, Path(ctf), optics), None
        selection = Selection(indices, len(source), source.path)
        stack = cls(source, selection)
        if poses is not None:
            rotation, shift = _pose_arrays(poses, stack.box_size)
            origin = "poses" if isinstance(poses, Pose) else str(poses)
            rows = selection.of(len(rotation), origin)
            stack._set_poses(rotation[rows], None if shift is None else shift[rows], source=origin)
        if ctf is not None:
            values = overridden(read_ctf(ctf), optics)
            stack.ctf = values[selection.of(len(values), ctf, of_whole_file=True)]
        if labels is not None:
            known = read_labels(labels)
            stack.labels = known.take(selection.of(len(known), labels))
        stack._warn_about_pixel_sizes()
        return_freed_memory()
        return stack

    def tolerant(self) -> ParticleStack:
        """Returns the same stack, which delivers an image that `read` refuses as NaN throughout.

        What it delivers must be looked at before it is used, as `NonFiniteGuard` does.
        """
        other = copy.copy(self)
        other._tolerant = True
        return other

    def posed(self, pose: Pose) -> ParticleStack:
        """Returns the same images with other poses.

        Args:
            pose: A row for each of the images.

        Returns:
            The stack.

        Raises:
            ValueError: If a rotation is none, or a translation exceeds the box.
        """
        other = copy.copy(self)
        other._set_poses(*_pose_arrays(pose, self.box_size))
        return other

    def __len__(self) -> int:
        """Number of (selected) images."""
        return len(self._file)

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Row of each image in the particle file, shape (N,), from 0."""
        return self.selection.rows

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
        """Names an image as RELION does, with the path that it was read from.

        Args:
            index: 0-based row of this stack.

        Returns:
            For example ``17@folder/stack.mrcs``, counted from 1.
        """
        path = self._images.headers[int(self._file[index])].path
        return f"{int(self._slot[index]) + 1}@{path}"

    def image_names(self) -> list[str]:
        """Names all images as the particle file does.

        Returns:
            For example ``000017@stack.mrcs``, counted from 1; N of them.
        """
        return [
            f"{slot + 1:06d}@{self._names[file]}"
            for file, slot in zip(self._file.tolist(), self._slot.tolist(), strict=True)
        ]

    def _one_sign(self, positive: npt.NDArray[np.bool_]) -> bool:
        """Whether the sign is +1, of all particles or none."""
        other = np.flatnonzero(positive != positive[0])
        if other.size:
            raise ValueError(
                f"{self.path}: the sign of the contrast is not one: blob/sign differs between rows "
                f"{self.rows[0] + 1} and {self.rows[other[0]] + 1}; select those of one sign "
                "(indices)"
            )
        return bool(positive[0])

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
        if translation_px is not None:
            far = np.flatnonzero(~(np.abs(translation_px) <= self.box_size + 1).all(axis=1))
            if far.size:
                raise ValueError(
                    f"{source or self.path}, row {far[0] + 1}: translation "
                    f"{translation_px[far[0]].tolist()} px exceeds the box of {self.box_size} px"
                )
        self.rotation = rotation.astype(np.float32)
        self.translation = None if translation_px is None else translation_px.astype(np.float32)

    def _warn_about_pixel_sizes(self) -> None:
        """Warns once that volumes will have the pixel size of the first particle."""
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
