"""Small particle files that the tests of this room share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles.pickles import write_ctf, write_poses

N_IMAGES, BOX_SIZE = 12, 8


def flat(lists: Iterable[Iterable[Any]]) -> list[Any]:
    """Joins lists."""
    return list(chain.from_iterable(lists))


@dataclass(frozen=True)
class Files:
    """A stack of 12 images of 8 px with poses and CTF."""

    folder: Path
    images: npt.NDArray[np.float32]
    rotation: npt.NDArray[np.float32]
    translation_px: npt.NDArray[np.float32]
    ctf: npt.NDArray[np.float32]

    @property
    def stack(self) -> Path:
        return self.folder / "stack.mrcs"

    @property
    def poses(self) -> Path:
        return self.folder / "poses.pkl"

    @property
    def ctf_file(self) -> Path:
        return self.folder / "ctf.pkl"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((N_IMAGES, BOX_SIZE, BOX_SIZE), dtype=np.float32)
    rotation = np.linalg.qr(rng.standard_normal((N_IMAGES, 3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))[:, None, None]
    made = Files(
        tmp_path,
        images,
        rotation.astype(np.float32),
        rng.uniform(-2, 2, (N_IMAGES, 2)).astype(np.float32),
        np.tile(
            np.array([16, 1.5, 1e4, 9e3, 30, 300, 2.7, 0.1, 0], dtype=np.float32), (N_IMAGES, 1)
        ),
    )
    with MrcsWriter(made.stack, BOX_SIZE, 3.0) as writer:
        writer.write(images)
    write_poses(made.poses, made.rotation, made.translation_px, BOX_SIZE)
    write_ctf(made.ctf_file, made.ctf)
    return made
