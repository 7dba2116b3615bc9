"""Numbers that no microscope and no refinement gives, in every format."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.files.star import write_star
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.ctf import CtfOverrides
from tests.particles import formats
from tests.particles.formats import BOX, COUNT, PIXEL, save_cs, write_stack


def _second(value: float, first: float) -> list[float]:
    return [first, value] + [first] * (COUNT - 2)


@pytest.mark.parametrize(
    ("of_optics", "changes", "message"),
    [
        ({"ImageSize": [0]}, {}, r"row 1: _rlnImageSize is 0, expected 2 to 100000 pixels"),
        ({"ImageSize": [15.5]}, {}, r"row 1: _rlnImageSize is 15\.5, expected a whole number"),
        ({"ImagePixelSize": [0]}, {}, r"row 1: _rlnImagePixelSize is 0, expected 0\.01 to 1000 Å"),
        ({"ImagePixelSize": [-2]}, {}, r"row 1: _rlnImagePixelSize is -2"),
        ({"ImagePixelSize": ["nan"]}, {}, r"row 1 of data_optics: _rlnImagePixelSize is 'nan'"),
        ({"Voltage": [300000]}, {}, r"row 1: _rlnVoltage is 300000, expected 10 to 3000 kV"),
        ({"SphericalAberration": [2.7e7]}, {}, r"_rlnSphericalAberration is 2\.7e\+07, .* mm"),
        ({"AmplitudeContrast": [10]}, {}, r"row 1: _rlnAmplitudeContrast is 10, expected -1 to 1"),
        ({"CtfDataArePhaseFlipped": [2]}, {}, r"_rlnCtfDataArePhaseFlipped is 2, expected 0 or 1"),
        (
            {},
            {"OriginXAngst": _second(1e30, 0)},
            r"row 2: _rlnOriginXAngst .* are 1e\+30, .*box",
        ),
        ({}, {"DefocusU": _second(1e30, 1e4)}, r"row 2: _rlnDefocusU is 1e\+30, expected -1e\+06"),
        ({}, {"DefocusU": _second(1e300, 1e4)}, r"row 2: _rlnDefocusU is "),
        ({}, {"DefocusAngle": _second(1e9, 0)}, r"row 2: _rlnDefocusAngle is 1e\+09, .* degrees"),
        ({}, {"AngleRot": _second(1e20, 0)}, r"row 2: _rlnAngleRot is 1e\+20, .* degrees"),
        ({}, {"CtfScalefactor": _second(0, 1)}, r"row 2: _rlnCtfScalefactor is 0"),
        ({}, {"CtfBfactor": _second(1e9, 0)}, r"row 2: _rlnCtfBfactor is 1e\+09"),
        (
            {},
            {"ImageName": ["1.5@stack.mrcs"] * COUNT},
            r"row 1: _rlnImageName is '1\.5@stack",
        ),
        ({}, {"ImageName": ["9999999999@stack.mrcs"] * COUNT}, r"row 1: _rlnImageName is '9999"),
        (
            {},
            {"Voltage": _second(200, 300)},
            r"row 2 of .*: _rlnVoltage is 200, and 300",
        ),
        (
            {},
            {"OriginX": np.ones(COUNT), "OriginY": np.ones(COUNT)},
            r"row 1: _rlnOriginX, _rlnOriginY are 1, 1 pixels and _rlnOriginXAngst, .* say -?\d",
        ),
    ],
)
def test_star_values_are_refused_by_row_and_column(
    of_optics: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    write_stack(tmp_path / "stack.mrcs", formats.truth().images())
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(formats.star(tmp_path, formats.truth(), of_optics, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Magnification": _second(0, 25000)}, r"row 2: _rlnMagnification is 0, expected a posit"),
        ({"Magnification": _second(1e12, 25000)}, r"row 2: _rlnDetectorPixelSize \* 10,000 / _rln"),
    ],
)
def test_magnifications_are_checked(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.mrcs", formats.truth().images())
    columns = formats.particles(formats.truth(), OpticsGroup=None, DetectorPixelSize=[5] * COUNT)
    columns |= {f"_rln{name}": value for name, value in changes.items()}
    write_star(tmp_path / "p.star", {"": columns})
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(tmp_path / "p.star")


def test_both_origins_are_fine_where_they_agree(tmp_path: Path) -> None:
    made = formats.truth()
    write_stack(tmp_path / "stack.mrcs", made.images())
    pixels = made.shift_angstrom / PIXEL
    path = formats.star(tmp_path, made, OriginX=pixels[:, 0], OriginY=pixels[:, 1])
    found = ParticleStack.open(path).translation
    assert found is not None
    np.testing.assert_allclose(found, pixels, atol=1e-5)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("blob/shape", 0, r"row 2: blob/shape is 0, expected 2 to 100000 pixels"),
        ("blob/shape", (16, 18), r"row 2: blob/shape is 16 x 18, expected a square"),
        ("blob/psize_A", 0, r"row 2: blob/psize_A is 0, expected 0\.01 to 1000 Å per pixel"),
        ("alignments3D/psize_A", 0, r"row 2: alignments3D/psize_A is 0"),
        (
            "alignments3D/shift",
            1e30,
            r"row 2: alignments3D/shift are 1e\+30, 1e\+30, a shift",
        ),
        ("alignments3D/shift", np.nan, r"row 2: alignments3D/shift is not finite"),
        (
            "alignments3D/pose",
            1e20,
            r"row 2: alignments3D/pose is 1e\+20, expected -100 to 100",
        ),
        ("ctf/accel_kv", 300000, r"row 2: ctf/accel_kv is 300000, expected 10 to 3000 kV"),
        ("ctf/df1_A", 1e30, r"row 2: ctf/df1_A is 1e\+30"),
        ("ctf/df1_A", np.inf, r"row 2: ctf/df1_A is not finite"),
        ("blob/idx", 0.5, r"row 2: blob/idx is 0\.5, expected a whole number"),
        ("blob/idx", 1e12, r"row 2: image \d+ is out of range"),
        ("blob/idx", -1, r"row 2: image 0 is out of range"),
    ],
)
def test_cryosparc_values_are_refused_by_row_and_field(
    field: str, value: object, message: str, tmp_path: Path
) -> None:
    table = formats.cs_table(formats.truth())
    kinds = [(n, "<f8" if n == "blob/idx" else table.dtype[n]) for n in table.dtype.names or ()]
    changed = table.astype(kinds)
    changed[field][1] = value
    write_stack(tmp_path / "J1/extract/stack.mrcs", formats.truth().images())
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(save_cs(tmp_path / "p.cs", changed))


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (0, 0, r"ctf\.pkl, row 3: box size of the CTF is 0, expected 2 to 100000 pixels"),
        (0, 15.5, r"row 3: box size of the CTF is 15\.5, expected a whole number"),
        (1, -1, r"row 3: pixel size of the CTF is -1"),
        (2, 1e30, r"row 3: defocus U is 1e\+30"),
        (3, 1e200, r"row 3: defocus V is 1e\+200"),
        (4, np.nan, r"row 3: CTF is not finite"),
        (5, 300000, r"row 3: voltage is 300000, expected 10 to 3000 kV"),
        (6, 2.7e7, r"row 3: spherical aberration is 2\.7e\+07"),
        (7, 10, r"row 3: amplitude contrast is 10"),
        (8, 1e9, r"row 3: phase shift is 1e\+09"),
    ],
)
def test_pickled_values_are_refused_by_row_and_column(
    column: int, value: float, message: str, tmp_path: Path
) -> None:
    made = formats.truth()
    stack = write_stack(tmp_path / "stack.mrcs", made.images())
    ctf = made.ctf.astype(np.float64)
    ctf[2, column] = value
    (tmp_path / "ctf.pkl").write_bytes(pickle.dumps(ctf))
    with pytest.raises(ValueError, match=message):
        ParticleStack.open(stack, ctf=tmp_path / "ctf.pkl")


def test_given_optics_take_the_place_of_columns(tmp_path: Path) -> None:
    made = formats.truth()
    write_stack(tmp_path / "stack.mrcs", made.images())
    path = formats.star(tmp_path, made, {"Voltage": None, "ImagePixelSize": None})
    given = CtfOverrides(voltage_kv=200, pixel_size=4.0)
    stack = ParticleStack.open(path, optics=given)
    assert stack.ctf is not None
    assert stack.translation is not None
    assert stack.ctf[0, [0, 1, 5]].tolist() == [BOX, 4, 200]
    np.testing.assert_allclose(stack.translation * 4, made.shift_angstrom, atol=1e-4)
    files = formats.pickles(tmp_path, made)
    stack = ParticleStack.open(tmp_path / "stack.mrcs", ctf=files["ctf"], optics=given)
    assert stack.ctf is not None
    assert stack.ctf[0, [0, 1, 5]].tolist() == [BOX, 4, 200]
