"""Pixel sizes that set the unit of shifts, wherever they are told."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.ctf import CtfOverrides
from tests.particles import formats
from tests.particles.formats import BOX, PIXEL, save_cs, write_stack


def _binned(path: Path) -> None:
    """Images of half the box and twice the pixel size, of which tables need not know."""
    write_stack(path, formats.truth().images()[:, ::2, ::2].copy(), 2 * PIXEL)


def _shifts_angstrom(stack: ParticleStack) -> Any:
    assert stack.translation is not None
    return stack.translation * stack.pixel_size


@pytest.mark.parametrize(
    "told", [{"ImagePixelSize": None}, {"ImagePixelSize": None, "ImageSize": None}]
)
def test_a_header_s_pixel_size_is_of_its_own_box(told: dict[str, Any], tmp_path: Path) -> None:
    made = formats.truth()
    _binned(tmp_path / "stack.mrcs")
    with pytest.warns(UserWarning, match=r"no pixel size; 4 Å of the header"):
        stack = ParticleStack.open(formats.star(tmp_path, made, told))
    assert stack.pixel_size == pytest.approx(2 * PIXEL)
    np.testing.assert_allclose(_shifts_angstrom(stack), made.shift_angstrom, atol=1e-4)


def test_headers_that_contradict_a_pixel_size_without_a_box_are_named(tmp_path: Path) -> None:
    made = formats.truth()
    _binned(tmp_path / "stack.mrcs")
    table = formats.star(tmp_path, made, {"ImageSize": None})
    message = r"pixel size 2 Å is taken, though the header of .*stack\.mrcs says 4 Å"
    with pytest.warns(UserWarning, match=message):
        ParticleStack.open(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = CtfOverrides(pixel_size=2 * PIXEL)
        stack = ParticleStack.open(table, optics=given)
        ParticleStack.open(formats.star(tmp_path, made))
    np.testing.assert_allclose(_shifts_angstrom(stack), made.shift_angstrom, atol=1e-4)


def test_calibration_leaves_shifts_in_pixels_as_they_are(tmp_path: Path) -> None:
    made = formats.truth()
    write_stack(tmp_path / "J1/extract/stack.mrcs", made.images())
    table = save_cs(tmp_path / "p.cs", formats.cs_table(made, aligned_psize=PIXEL / 2))
    plain = ParticleStack.open(table)
    calibrated = ParticleStack.open(table, optics=CtfOverrides(pixel_size=1.05 * PIXEL))
    assert plain.translation is not None
    assert calibrated.translation is not None
    assert calibrated.ctf is not None
    np.testing.assert_allclose(calibrated.translation, plain.translation, atol=1e-6)
    np.testing.assert_allclose(calibrated.ctf[:, :2], [[BOX, 1.05 * PIXEL]] * len(plain))
