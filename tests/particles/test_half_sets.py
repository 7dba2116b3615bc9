"""Half sets of the refinement that poses come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from tests.particles.conftest import BOX_SIZE, N_IMAGES, Files

SUBSET = np.arange(N_IMAGES) // 2 % 2 + 1


def star(files: Files, name: str, subset: np.ndarray | None) -> Path:
    """A STAR file of the stack's particles, with half sets."""
    path = files.folder / name
    write_particles_star(
        path,
        "stack.mrcs",
        box_size=BOX_SIZE,
        pixel_size=3.0,
        rotation=files.rotation,
        extra={} if subset is None else {"_rlnRandomSubset": subset},
    )
    return path


def cryosparc(files: Files, **fields: np.ndarray) -> Path:
    """A ``.cs`` file of the stack's particles."""
    kinds = [("blob/path", "S16"), ("blob/idx", "u4"), ("alignments3D/pose", "f4", 3)]
    kinds += [("alignments3D/shift", "f4", 2), ("alignments3D/split", "u4")]
    rows = np.zeros(N_IMAGES, kinds)
    rows["blob/path"], rows["blob/idx"] = b"stack.mrcs", np.arange(N_IMAGES)
    for name, values in fields.items():
        rows[f"alignments3D/{name}"] = values
    path = files.folder / "particles.cs"
    with path.open("wb") as file:
        np.save(file, rows)
    return path


def halves(path: Path, **options: object) -> list[int] | None:
    """Half sets that a stack knows, from 0."""
    found = ParticleStack.open(path, **options).half_sets  # type: ignore[arg-type]
    known = None if found is None else found.halves()
    return None if known is None else known.tolist()


@pytest.mark.filterwarnings("ignore:.*no pixel size:UserWarning")
def test_files_tell_half_sets(files: Files) -> None:
    expected = (SUBSET - 1).tolist()
    path = star(files, "a.star", SUBSET)
    assert halves(path) == expected
    assert halves(path, indices=[3, 0, 5]) == [1, 0, 0]
    assert halves(cryosparc(files, split=SUBSET - 1)) == expected
    assert halves(star(files, "b.star", None)) is None
    # Poses from another table come with its half sets, as poses of a pickle come with none.
    assert halves(files.folder / "b.star", poses=path) == expected
    assert halves(path, poses=files.poses) is None
    assert halves(files.stack) is None
    assert halves(star(files, "c.star", np.ones(N_IMAGES))) is None


@pytest.mark.parametrize(
    ("subset", "message"),
    [
        (np.arange(N_IMAGES), r"a.star, _rlnRandomSubset: half sets must be 1 and 2, found 0 \(pa"),
        (SUBSET + 1, r"must be 1 and 2, found 3 \(particle 3\): correct the column, or leave it"),
        (SUBSET / 2, r"a.star, row 1: _rlnRandomSubset is 0.5, expected a whole number"),
    ],
)
def test_other_numbers_are_refused(files: Files, subset: np.ndarray, message: str) -> None:
    path = star(files, "a.star", subset)
    with pytest.raises(ValueError, match=message):
        halves(path)
