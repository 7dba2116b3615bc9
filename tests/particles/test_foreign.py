"""What particle tables say that is not of single particles with a plain CTF."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle.files.star import write_star
from cryo_disentangle.particles import ParticleStack
from tests.particles import formats
from tests.particles.formats import COUNT, save_cs, write_stack

_TILTS = {
    "GroupName": [f"TS_{i // 4}" for i in range(COUNT)],
    "CtfScalefactor": [1, 0.99, 0.98, 0.9, 1, 0.99, 0.95],
}


def _open(folder: Path, of_optics: dict[str, Any] | None = None, **changes: Any) -> ParticleStack:
    write_stack(folder / "stack.mrcs", formats.truth().images())
    return ParticleStack.open(formats.star(folder, formats.truth(), of_optics, **changes))


@pytest.mark.parametrize(
    ("of_optics", "changes", "message"),
    [
        ({"ImageDimensionality": [3]}, {}, r"row 1: _rlnImageDimensionality is 3, expected 2"),
        ({"CtfDataAreCtfCorrected": [1]}, {}, r"_rlnCtfDataAreCtfCorrected is 1"),
        ({"TomoTiltSeriesPixelSize": [2.0]}, {}, r"_rlnTomoTiltSeriesPixelSize among"),
        ({}, {"CoordinateZ": [0, 0, 7] + [0] * 4}, r"row 3: _rlnCoordinateZ is 7, as of a tomogr"),
        ({}, {"CtfImage": ["1_ctf.mrc"] * COUNT}, r"_rlnCtfImage among the particles' columns"),
        ({}, {"MovieFrameNumber": [1] * COUNT}, r"_rlnMovieFrameNumber among .* movies are not"),
        ({}, {"TomoName": ["TS_01"] * COUNT}, r"_rlnTomoName among the particles' columns: subtom"),
        (
            {},
            _TILTS | {"CtfBfactor": [-4, -8, -12, -16, -4, -8, -12]},
            r"each _rlnGroupName is a series of images of one particle.*as Warp and M",
        ),
        (
            {},
            _TILTS | {"MicrographName": [f"tilt_{i % 4}.mrc" for i in range(COUNT)]},
            r"each _rlnGroupName is a series of images of one particle",
        ),
    ],
)
def test_tomography_is_refused(
    of_optics: dict[str, Any], changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        _open(tmp_path, of_optics, **changes)


def test_a_header_of_stacks_of_tilts_is_refused(tmp_path: Path) -> None:
    write_stack(tmp_path / "stack.mrcs", formats.truth().images())
    tables = {
        "general": {"_rlnTomoSubTomosAre2DStacks": [1]},
        "optics": formats.optics(),
        "particles": formats.particles(formats.truth()),
    }
    write_star(tmp_path / "p.star", tables)
    with pytest.raises(ValueError, match=r"_rlnTomoSubTomosAre2DStacks in data_general: subtomogr"):
        ParticleStack.open(tmp_path / "p.star")


def test_stacks_named_without_a_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"row 1: _rlnImageName stack\.mrcs has no image number"):
        _open(tmp_path, ImageName=["stack.mrcs"] * COUNT)
    write_stack(tmp_path / "one.mrcs", formats.truth().images()[:1])
    stack = _open(tmp_path, ImageName=["one.mrcs"] * COUNT)
    np.testing.assert_array_equal(stack.read([3]), formats.truth().images()[:1])


def test_groups_of_single_particles_are_no_tilt_series(tmp_path: Path) -> None:
    """Particles of a micrograph, with scale and B factors refined for each."""
    stack = _open(
        tmp_path,
        GroupName=[f"group_{i // 4}" for i in range(COUNT)],
        MicrographName=[f"{i // 4}.mrc" for i in range(COUNT)],
        CtfScalefactor=np.linspace(0.8, 1.2, COUNT),
        CtfBfactor=[3, 9, 4, 8, 1, 5, 2],
    )
    assert list(stack.ctf_terms.known()) == ["ctf_scale", "ctf_b_factor"]


@pytest.mark.parametrize(
    ("of_optics", "changes", "names"),
    [
        (
            {"MagMat00": [1.02], "MagMat11": [1]},
            {},
            "_rlnMagMat00",
        ),
        ({"BeamTiltX": [0.3], "BeamTiltY": [0.1]}, {}, "_rlnBeamTiltX, _rlnBeamTiltY"),
        ({"OddZernike": ["[0,0.1,0]"], "EvenZernike": ["[0,0.0,0]"]}, {}, "_rlnOddZernike"),
        ({}, {"NormCorrection": np.linspace(0.9, 1.1, COUNT)}, "_rlnNormCorrection"),
        ({}, {"OriginZAngst": np.ones(COUNT)}, "_rlnOriginZAngst"),
    ],
)
def test_what_is_ignored_is_named_once(
    of_optics: dict[str, Any], changes: dict[str, Any], names: str, tmp_path: Path
) -> None:
    with pytest.warns(
        UserWarning, match=rf"p\.star: ignored: {names} \(documentation: Limits\)"
    ) as told:
        _open(tmp_path, of_optics, **changes)
    assert len(told) == 1


def test_plain_values_are_not_spoken_of(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"MagMat00": [1], "MagMat01": [0], "BeamTiltX": [0]}
    plain |= {"OddZernike": ["[0,0]"], "CtfDataAreCtfPremultiplied": [0]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stack = _open(tmp_path, plain, CtfBfactor=[0] * COUNT, CtfScalefactor=[1] * COUNT)
    assert not stack.ctf_terms.known()


def test_fields_of_cryosparc_that_are_ignored_are_named(tmp_path: Path) -> None:
    table = formats.cs_table(formats.truth())
    write_stack(tmp_path / "J1/extract/stack.mrcs", formats.truth().images())
    extra = [("ctf/tilt_A", "<f4", (2,)), ("ctf/scale", "<f4"), ("alignments3D/alpha", "<f4")]
    wider = np.zeros(COUNT, table.dtype.descr + extra)
    for name in table.dtype.names or ():
        wider[name] = table[name]
    wider["ctf/scale"], wider["alignments3D/alpha"] = 1, np.linspace(0.9, 1.1, COUNT)
    wider["ctf/tilt_A"] = 5
    path = save_cs(tmp_path / "p.cs", wider)
    with pytest.warns(UserWarning, match=r"ignored: ctf/tilt_A, alignments3D/alpha \(doc"):
        ParticleStack.open(path)


def test_signs_of_the_contrast_are_not_mixed(tmp_path: Path) -> None:
    table = formats.cs_table(formats.truth())
    write_stack(tmp_path / "J1/extract/stack.mrcs", formats.truth().images())
    table["blob/sign"][3] = 1
    path = save_cs(tmp_path / "p.cs", table)
    with pytest.raises(ValueError, match=r"blob/sign differs between rows 1 and 4"):
        ParticleStack.open(path)
    assert ParticleStack.open(path, indices=[3]).positive is True
    assert ParticleStack.open(path, indices=[0, 1]).positive is False
    table["blob/sign"][3] = 0
    with pytest.raises(ValueError, match=r"row 4: blob/sign is 0, expected 1 or -1"):
        ParticleStack.open(save_cs(tmp_path / "p.cs", table))
