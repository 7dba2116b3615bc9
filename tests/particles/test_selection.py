"""Which rows of other files belong to selected images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.pickles import write_ctf
from cryo_disentangle.particles.selection import Selection
from tests.particles.conftest import N_IMAGES, Files

_FILE = Path("p.star")


@given(st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_rows_of_the_whole_file_are_chosen(rows: list[int]) -> None:
    selection = Selection(rows, 6, _FILE)
    assert selection.rows.tolist() == rows
    values = np.arange(6) * 10
    found = values[selection.of(6, "ctf.pkl", of_whole_file=True)]
    assert found.tolist() == [10 * row for row in rows]
    if len(rows) != 6:
        assert selection.of(len(rows), "poses.pkl") == slice(None)


@pytest.mark.parametrize("rows", [[2, 0, 1], [0, 0, 2]])
def test_rows_of_either_reading_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match=r"x\.pkl: 3 rows, and as many images are selected as the"):
        Selection(rows, 3, _FILE).of(3, "x.pkl")
    assert Selection([0, 1, 2], 3, _FILE).of(3, "x.pkl") == slice(None)


def test_another_order_of_the_whole_file(files: Files) -> None:
    order = np.random.default_rng(0).permutation(N_IMAGES)
    ctf = files.ctf.copy()
    ctf[:, 2] += np.arange(N_IMAGES)
    write_ctf(files.ctf_file, ctf)
    stack = ParticleStack.open(files.stack, ctf=files.ctf_file, indices=order)
    assert stack.ctf is not None
    np.testing.assert_array_equal(stack.ctf[:, 2], ctf[order, 2])
    np.testing.assert_array_equal(stack.read(range(N_IMAGES)), files.images[order])
    with pytest.raises(ValueError, match=r"poses\.pkl: 12 rows, and as many images are selected"):
        ParticleStack.open(files.stack, poses=files.poses, indices=order)


def test_images_are_named_as_the_particle_file_has_them(files: Files) -> None:
    stack = ParticleStack.open(files.stack, indices=[7, 3])
    assert stack.rows.tolist() == [7, 3]
    assert stack.image_names() == ["000008@stack.mrcs", "000004@stack.mrcs"]


def test_a_selection_of_all_costs_no_memory() -> None:
    selection = Selection(None, 4, _FILE)
    assert (len(selection), selection.of(4, "x")) == (4, slice(None))
    assert selection.rows.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        ([], r"indices: no image is selected"),
        (np.ma.masked_array([0, 1], [False, True]), r"indices: some are masked"),
        (np.array([2**63], np.uint64), r"entry 1: index 9223372036854775807 is out of range"),
        ([True, False, True], r"must be integers in one dimension, found shape \(3,\) of bool"),
    ],
)
def test_what_is_no_selection_is_refused(indices: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Selection(indices, 3, _FILE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("i.npz", r"i\.npz: indices cannot be read from \.npz, expected a pickle, \.npy or"),
        ("i.txt", r"i\.txt: indices cannot be read: "),
    ],
)
def test_other_files_of_indices_are_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("99999999999999999999999")
    with pytest.raises(ValueError, match=message):
        Selection(tmp_path / name, 3, _FILE)
