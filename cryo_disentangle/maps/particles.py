"""Images of the particles that have latents, joined by what names them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.joining import is_table
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.particle_table import open_particle_table
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.types import Pose

__all__ = ["ImageFiles", "embedded_rows", "open_embedded_images"]


@dataclass(frozen=True)
class ImageFiles:
    """Files of the images that maps are made of.

    Args:
        particles: Particle file.
        poses: In place of the file's or the run's, or None; and so for the CTF.
        ctf: CTF parameters.
        datadir: Folder of the stacks, or None.
        invert: Whether images are multiplied by -1; None is what the particle file says, and yes
            where it does not.
    """

    particles: Path
    poses: Path | None = None
    ctf: Path | None = None
    datadir: Path | None = None
    invert: bool | None = None


@dataclass(frozen=True)
class _StackRows:
    """Rows of a stack that names no particles."""

    path: Path
    count: int
    uids: None = None
    image_names: None = None

    def __len__(self) -> int:
        return self.count


def open_embedded_images(embedding: Embedding, files: ImageFiles) -> ParticleDataset:
    """Opens the images of the particles that have latents.

    Args:
        embedding: The latents.
        files: Where images lie. Poses are those given, else those the run ended with, else the
            particle file's.

    Returns:
        Images, a row for each of the latents, in their order, in the units of the stack.

    Raises:
        OSError: If a file is missing.
        ValueError: If particles cannot be joined, there are no poses, or a file is wrong.
    """
    rows = embedded_rows(embedding, files.particles, files.datadir)
    poses = files.poses or _run_poses(embedding, files)
    stack = ParticleStack.open(
        files.particles, poses=poses, ctf=files.ctf, indices=rows, datadir=files.datadir
    )
    if stack.box_size % 2:
        raise ValueError(
            f"{files.particles}: maps are made of images with an even side, found "
            f"{stack.box_size} pixels; crop or pad them by one"
        )
    return open_images(stack, invert=files.invert, norm=1.0)


def embedded_rows(
    embedding: Embedding, particles: Path, datadir: Path | None
) -> npt.NDArray[np.int64]:
    """Finds the row of each of the latents in a particle file.

    Args:
        embedding: The latents.
        particles: Particle file.
        datadir: Folder of the stacks, or None.

    Returns:
        Shape (n,), each row once.

    Raises:
        OSError: If a file is missing.
        ValueError: If particles cannot be joined.
    """
    if is_table(particles):
        return rows_in_table(embedding, open_particle_table(particles))
    count = len(ParticleStack.open(particles, datadir=datadir))
    return rows_in_table(embedding, _StackRows(particles, count))


def _run_poses(embedding: Embedding, files: ImageFiles) -> Pose | None:
    """Poses that the run ended with, in pixels of the images; None where it moved nothing."""
    own = embedding.poses
    if own is None or own.translation is None:
        return None
    if own.unit != "box":
        raise ValueError(
            f"{own.source}: translations are in pixels of a box that it does not name, so they do "
            "not fit images of another box; give poses as a table or in fractions of the box by "
            "--poses"
        )
    side = ParticleStack.open(files.particles, datadir=files.datadir).box_size
    rotation = torch.from_numpy(np.asarray(own.rotation, dtype=np.float32))
    # As cryoDRGN's fractions are.
    shift = np.asarray(own.translation * (side + 1), dtype=np.float32)
    return Pose(rotation, torch.from_numpy(shift))
