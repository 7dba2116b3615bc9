"""Stacks that tables name, found where people keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.files.star import write_star
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.locating import Folders, locate, plain_name, without_uid
from tests.particles.formats import write_stack


def _stack(path: Path, value: int) -> Path:
    rng = np.random.default_rng(value)
    return write_stack(path, rng.normal(size=(2, 8, 8)).astype(np.float32))


def _table(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write_star(folder / "p.star", {"particles": {"_rlnImageName": [f"1@{name}" for name in names]}})
    return folder / "p.star"


def test_names_are_looked_for_from_near_to_far(tmp_path: Path) -> None:
    far = _stack(tmp_path / "Extract/a/x.mrcs", 1)
    job = tmp_path / "Refine3D/job1"
    job.mkdir(parents=True)
    folders = Folders.of(job / "p.star", None)
    assert locate("Extract/a/x.mrcs", folders, "row 1").path == far
    near = _stack(job / "Extract/a/x.mrcs", 2)
    assert locate("Extract/a/x.mrcs", folders, "row 1").path == near
    # A folder that is given is the only one.
    flat = Folders.of(job / "p.star", tmp_path / "Extract")
    with pytest.raises(FileNotFoundError, match=r"row 1 names Refine3D/x\.mrcs, found neither"):
        locate("Refine3D/x.mrcs", flat, "row 1")


def test_a_file_of_the_same_name_in_the_working_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every simulated stack is a particles.mrcs."""
    own = _stack(tmp_path / "a/particles.mrcs", 1)
    other = _stack(tmp_path / "b/particles.mrcs", 2)
    table = _table(tmp_path / "a", "particles.mrcs")
    monkeypatch.chdir(other.parent)
    message = (
        rf"p\.star, row 1 names particles\.mrcs, which is {other} from the working directory and "
        rf"{own} from the table: give the folder that these names count from \(datadir\)"
    )
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(table)
    near, far = (ParticleStack.open(table, datadir=path.parent).read([0]) for path in (own, other))
    assert not np.array_equal(near, far)
    # One file by two ways is no choice.
    monkeypatch.chdir(own.parent)
    np.testing.assert_array_equal(ParticleStack.open(table).read([0]), near)
    monkeypatch.chdir(tmp_path)
    np.testing.assert_array_equal(ParticleStack.open(table).read([0]), near)


def test_two_names_of_one_file_are_refused(tmp_path: Path) -> None:
    _stack(tmp_path / "flat/x.mrcs", 1)
    table = _table(tmp_path, "a/x.mrcs", "b/x.mrcs")
    message = r"row 1 names a/x\.mrcs and .*row 2 names b/x\.mrcs, and both lead to .*\(datadir\)"
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(table, datadir=tmp_path / "flat")
    numbers = ("000090334788266266069_x.mrcs", "000090334788266266070_x.mrcs")
    table = _table(tmp_path, *(f"J1/imported/{name}" for name in numbers))
    with pytest.raises(ValueError, match=r"both lead to .*x\.mrcs"):
        ParticleStack.open(table, datadir=tmp_path / "flat")


def test_one_file_spelled_twice_is_fine(tmp_path: Path) -> None:
    _stack(tmp_path / "a/x.mrcs", 1)
    stack = ParticleStack.open(_table(tmp_path, "a/x.mrcs", "./a//x.mrcs", "a/x.mrcs:mrcs"))
    images = stack.read([0, 1, 2])
    np.testing.assert_array_equal(images, images[[0, 0, 0]])


def test_additions_of_programs() -> None:
    assert plain_name("./a//b.mrc:mrcs") == "a/b.mrc"
    assert plain_name("a:b/c.mrcs") == "a:b/c.mrcs"
    assert without_uid("000090334788266266069_x_1.mrc") == "x_1.mrc"
    assert without_uid("20150917_05196_x.mrc") == "20150917_05196_x.mrc"


def test_folders_of_other_systems_and_of_imports(tmp_path: Path) -> None:
    found = _stack(tmp_path / "J1/imported/x.mrcs", 1)
    folders = Folders.of(tmp_path / "p.star", None)
    for name in (
        "J1\\imported\\x.mrcs",
        "J1/imported/000090334788266266069_x.mrcs",
        "J1\\imported\\000090334788266266069_x.mrcs",
    ):
        assert locate(name, folders, "row 1").path == found
    flat = Folders.of(tmp_path / "p.star", found.parent)
    assert locate("C:\\data\\x.mrcs", flat, "row 1") == ("C:\\data\\x.mrcs", found, "row 1", True)
    table = _table(tmp_path, *(f"J1/imported/0000903347882662660{n}_x.mrcs" for n in (69, 70)))
    with pytest.raises(ValueError, match=r"both lead to .*x\.mrcs"):
        ParticleStack.open(table)
