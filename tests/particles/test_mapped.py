from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cryo_disentangle.files.memory import return_freed_memory
from cryo_disentangle.files.mrc import read_mrc_header
from cryo_disentangle.files.stacks import MrcsWriter, stack_header
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.particles.mapped import _MAX_OPEN, MappedImages
from tests.forked import alone, peak_memory


def _stacks(folder: Path, count: int) -> MappedImages:
    for i in range(count):
        with MrcsWriter(folder / f"{i}.mrcs", 4, 1.0) as writer:
            writer.write(np.full((2, 4, 4), i, dtype=np.float32) + np.arange(2)[:, None, None] / 2)
    return MappedImages([read_mrc_header(folder / f"{i}.mrcs") for i in range(count)])


def test_a_bounded_number_of_files_is_open(tmp_path: Path) -> None:
    mapped = _stacks(tmp_path, _MAX_OPEN + 8)
    file = np.random.default_rng(0).permutation(np.repeat(np.arange(_MAX_OPEN + 8), 3))
    slot = np.arange(len(file)) % 2
    images = mapped.read(file, slot)
    np.testing.assert_array_equal(images[:, 0, 0], file + slot / 2)
    assert len(mapped._maps) == _MAX_OPEN


def test_a_batch_goes_through_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapped = _stacks(tmp_path, 3)
    visited: list[int] = []
    view = mapped._view

    def remembered(file: int) -> npt.NDArray[Any]:
        visited.append(file)
        return view(file)

    monkeypatch.setattr(mapped, "_view", remembered)
    file, slot = np.array([2, 0, 2, 0, 2]), np.array([1, 0, 0, 1, 1])
    np.testing.assert_array_equal(mapped.read(file, slot)[:, 0, 0], file + slot / 2)
    assert visited == [0, 2]


def test_workers_map_files_anew(tmp_path: Path) -> None:
    mapped = _stacks(tmp_path, 2)
    mapped.read(np.array([0, 1]), np.array([0, 0]))
    copy = pickle.loads(pickle.dumps(mapped))
    assert not copy._maps
    np.testing.assert_array_equal(copy.read(np.array([1]), np.array([1]))[0], np.full((4, 4), 1.5))


def read_sparse(path: Path) -> None:
    """Makes a stack of 5 GiB and reads a thousandth of it; tells by how many MiB memory grew."""
    count, side, step = 330_000, 64, 330
    with path.open("wb") as file:
        file.write(stack_header(count, side, 1.0))
        file.truncate(1024 + count * side * side * 4)
        for image in range(0, count, step):
            file.seek(1024 + image * side * side * 4)
            file.write(np.float32(1 + image).tobytes())
    before = peak_memory()
    dataset = ParticleDataset(ParticleStack.open(path))
    for start in range(0, count, 64 * step):
        batch = dataset.__getitems__(list(range(start, min(count, start + 64 * step), step)))
        assert torch.isfinite(batch["images"]).all()
    print((peak_memory() - before) // 1024)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures Linux's resident set")
def test_a_sparse_stack_of_5_gib_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "sparse.mrcs"
    said = alone(read_sparse, path)
    assert path.stat().st_size > 5 * 2**30
    assert int(said.split()[-1]) < 200


def read_long_table(folder: Path) -> None:
    """Opens 100,000 rows; tells by how many MiB the memory in use grew."""

    def used() -> int:
        return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0])

    with MrcsWriter(folder / "stack.mrcs", 4, 1.0) as writer:
        writer.write(np.arange(16, dtype=np.float32).reshape(1, 4, 4))
    for name, count in (("warm", 100), ("long", 100_000)):
        write_particles_star(
            folder / f"{name}.star",
            ["1@stack.mrcs"] * count,
            box_size=4,
            pixel_size=1.0,
            rotation=np.eye(3)[None].repeat(count, 0),
        )
    ParticleStack.open(folder / "warm.star")
    return_freed_memory()
    before = used()
    stack = ParticleStack.open(folder / "long.star")
    print(len(stack), (used() - before) // 1024)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="measures Linux's resident set")
def test_of_a_long_table_poses_stay_and_no_text(tmp_path: Path) -> None:
    count, grown = alone(read_long_table, tmp_path).split()[-2:]
    assert int(count) == 100_000
    assert int(grown) < 25
