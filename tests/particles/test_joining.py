"""Poses and CTF of one table, images of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cryo_disentangle.particles import ParticleStack
from tests.particles import formats
from tests.particles.formats import COUNT, PIXEL, save_cs, write_stack


def _images(folder: Path, table: npt.NDArray[Any]) -> Path:
    write_stack(folder / "J1/extract/stack.mrcs", formats.truth().images())
    return save_cs(folder / "images.cs", table, lambda name: not name.startswith("align"))


def _poses(folder: Path, table: npt.NDArray[Any], *fields: str) -> Path:
    return save_cs(folder / "poses.cs", table, lambda n: n.startswith("align") or n in fields)


def test_a_row_that_is_missing_or_twice_is_named(tmp_path: Path) -> None:
    table = formats.cs_table(formats.truth())
    images = _images(tmp_path, table)
    with pytest.raises(
        ValueError,
        match=r"^2 of \d+ particles of .* not in .*poses\.cs by uid, .*: 46, \d+ \(row 6\)",
    ):
        ParticleStack.open(images, poses=_poses(tmp_path, table[:5], "uid"))
    twice = table[[0, 1, 2, 3, 4, 5, 6, 2]]
    with pytest.raises(ValueError, match=r"poses\.cs: rows 3 and 8 have the same uid"):
        ParticleStack.open(images, poses=_poses(tmp_path, twice, "uid"))


def test_rows_are_never_matched_by_position(tmp_path: Path) -> None:
    table = formats.cs_table(formats.truth())
    poses = _poses(tmp_path, table)
    with pytest.raises(
        ValueError, match=r"poses\.cs: its particles have no names in common .*uid and"
    ):
        ParticleStack.open(_images(tmp_path, table), poses=poses)
    stack = write_stack(tmp_path / "stack.mrcs", formats.truth().images())
    with pytest.raises(ValueError, match=r"no names in common .*has image name"):
        ParticleStack.open(stack, poses=_poses(tmp_path, table, "uid"))


def test_two_tables_without_any_name_are_taken_as_pickles_are(tmp_path: Path) -> None:
    made = formats.truth()
    table = formats.cs_table(made)
    _images(tmp_path, table)
    names = ("blob", "ctf")
    images = save_cs(tmp_path / "images.cs", table, lambda name: name.startswith(names))
    with pytest.warns(UserWarning, match=r"poses\.cs: neither uid nor image names, .* in order"):
        stack = ParticleStack.open(images, poses=_poses(tmp_path, table))
    assert stack.translation is not None
    np.testing.assert_allclose(stack.translation * PIXEL, made.shift_angstrom, atol=1e-4)


def test_images_are_matched_by_name(tmp_path: Path) -> None:
    made = formats.truth()
    stack = write_stack(tmp_path / "stack.mrcs", made.images())
    names = [f"{i + 2:06d}@far/stack.mrcs" for i in range(COUNT)]
    table = formats.star(tmp_path, made, ImageName=names)
    with pytest.raises(
        ValueError, match=r"not in .*p\.star by image name, the first: 1@stack\.mrcs.* \(row 1\)"
    ):
        ParticleStack.open(stack, poses=table)
    names = [f"{i + 1:06d}@{'ab'[i % 2]}/stack.mrcs" for i in range(COUNT)]
    table = formats.star(tmp_path, made, ImageName=names)
    with pytest.raises(ValueError, match=r"a/stack\.mrcs and b/stack\.mrcs have the same last"):
        ParticleStack.open(stack, ctf=table)


def test_poses_of_a_star_belong_to_the_images_of_a_cs(tmp_path: Path) -> None:
    made = formats.truth()
    images = _images(tmp_path, formats.cs_table(made))
    names = [f"{i + 1:06d}@J7/000090334788266266069_stack.mrc" for i in range(COUNT)][::-1]
    columns = formats.particles(made)
    turned = {key[4:]: values[::-1] for key, values in columns.items()} | {"ImageName": names}
    stack = ParticleStack.open(images, poses=formats.star(tmp_path, made, **turned))
    assert stack.rotation is not None
    np.testing.assert_allclose(stack.rotation, made.rotation, atol=1e-5)


def test_a_selection_is_of_the_images(tmp_path: Path) -> None:
    made = formats.truth()
    table = formats.cs_table(made)
    order = np.random.default_rng(2).permutation(COUNT)
    stack = ParticleStack.open(
        _images(tmp_path, table), poses=_poses(tmp_path, table[order], "uid"), indices=order
    )
    assert stack.rotation is not None
    np.testing.assert_allclose(stack.rotation, made.rotation[order], atol=1e-5)


def test_other_groups_of_poses_are_named_and_chosen(tmp_path: Path) -> None:
    made = formats.truth()
    table = formats.cs_table(made)
    renamed = [
        name.replace("alignments3D", "alignments_class_1") for name in table.dtype.names or ()
    ]
    table.dtype.names = tuple(renamed)
    _images(tmp_path, table)
    path = save_cs(tmp_path / "p.cs", table)
    with pytest.warns(UserWarning, match=r"no poses; .*--data\.alignments alignments_class_1"):
        assert ParticleStack.open(path).rotation is None
    with pytest.raises(ValueError, match=r"no field alignments3D/pose.*some of alignments_class_1"):
        ParticleStack.open(_images(tmp_path, table), poses=path)
    with pytest.raises(ValueError, match=r"no field nothing/pose, found poses of alignments_"):
        ParticleStack.open(path, alignments="nothing")
    stack = ParticleStack.open(path, alignments="alignments_class_1")
    assert stack.translation is not None
    np.testing.assert_allclose(stack.translation * PIXEL, made.shift_angstrom, atol=1e-4)


def test_different_images_of_one_uid_are_refused(tmp_path: Path) -> None:
    table = formats.cs_table(formats.truth())
    poses = _poses(tmp_path, table, "uid")
    table["uid"][3] = table["uid"][2]
    with pytest.raises(ValueError, match=r"images\.cs: rows 3 and 4 are different images of one u"):
        ParticleStack.open(_images(tmp_path, table), poses=poses)
    # One image that is there twice has one pose.
    stack = ParticleStack.open(_images(tmp_path, table[[0, 1, 1]]), poses=poses)
    assert stack.translation is not None
    assert stack.translation[1].tolist() == stack.translation[2].tolist()


def test_a_pixel_size_without_a_box_is_of_the_images(tmp_path: Path) -> None:
    made = formats.truth()
    table = formats.old_star(tmp_path, made)
    for of_header in (0.0, 1.0, PIXEL):
        images = write_stack(tmp_path / "stack.mrcs", made.images(), of_header)
        stack = ParticleStack.open(images, poses=table, ctf=table)
        assert stack.pixel_size == PIXEL
        assert stack.translation is not None
        np.testing.assert_allclose(stack.translation * PIXEL, made.shift_angstrom, atol=1e-4)
    images = write_stack(tmp_path / "stack.mrcs", made.images(), 2 * PIXEL)
    with pytest.raises(ValueError, match=r"pixel size 2 Å and no box size, and headers .* say 4 Å"):
        ParticleStack.open(images, poses=table)
