from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from cryo_disentangle.particles.cryosparc import CryosparcParticles
from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.particles.ctf_columns import ctf_from_cryosparc, ctf_from_star
from cryo_disentangle.particles.pose_columns import poses_from_cryosparc, poses_from_star
from tests.helpers import shared

_FLAGS = {
    "-D": "box_size",
    "--Apix": "pixel_size",
    "--kv": "voltage_kv",
    "--cs": "spherical_aberration_mm",
    "-w": "amplitude_contrast",
    "--ps": "phase_shift_deg",
}


def _file(argument: str) -> Path:
    folder = "golden/cryodrgn" if argument.startswith("dataset/") else "data/cryodrgn_tests"
    return shared(f"{folder}/{argument}")


def _overrides(arguments: list[str]) -> dict[str, float]:
    return {
        _FLAGS[flag]: float(value)
        for flag, value in zip(arguments[::2], arguments[1::2], strict=True)
    }


def _poses(command: str, arguments: list[str]) -> dict[str, npt.NDArray[np.floating]]:
    path = _file(arguments[0])
    if command == "parse_pose_star":
        poses = poses_from_star(path, **_overrides(arguments[1:]))
    else:
        poses = poses_from_cryosparc(path)
    # Where a box was halved, cryoDRGN is told so and doubles shifts; here psize_A says it.
    scale = 2.0 if "--hetrefine" in arguments else 1.0
    return {"rot": poses.rotation, "trans": poses.translation * scale}


def _ctf(command: str, arguments: list[str]) -> dict[str, npt.NDArray[np.floating]]:
    read = ctf_from_star if command == "parse_ctf_star" else ctf_from_cryosparc
    return {"ctf": read(_file(arguments[0]), CtfOverrides(**_overrides(arguments[1:])))}


def test_poses_and_ctf_agree_with_cryodrgn() -> None:
    golden = np.load(shared("golden/cryodrgn/parse.npz"))
    commands = json.loads(shared("golden/cryodrgn/parse_commands.json").read_text())
    checked = set()
    for command in commands:
        if command["result"] != "ok":
            continue
        read = _poses if "pose" in command["command"] else _ctf
        for kind, values in read(command["command"], command["argv"].split()).items():
            name = f"{command['key']}/{kind}"
            if name not in golden:
                continue
            expected = golden[name]
            tolerance = 2e-6 if expected.dtype == np.float32 else 1e-12
            np.testing.assert_allclose(
                values[: len(expected)], expected, rtol=1e-6, atol=tolerance, err_msg=name
            )
            checked.add(name)
    assert checked == set(golden.keys())


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda: poses_from_star(_file("FinalRefinement-OriginalParticles-PfCRT.star")),
            r"PfCRT\.star: no box size \(_rlnImageSize or blob/shape\); give the box size",
        ),
        (
            lambda: ctf_from_star(_file("FinalRefinement-OriginalParticles-PfCRT.star")),
            r"PfCRT\.star: no _rlnImageSize; add it to the file, or give optics\.box_size",
        ),
        (
            lambda: poses_from_cryosparc(_file("empiar_10076_7.cs")),
            r"empiar_10076_7\.cs: no field alignments3D/pose",
        ),
        (
            lambda: ctf_from_star(_file("dataset/r30.star"), CtfOverrides(box_size=32)),
            r"r30\.star: no _rlnImagePixelSize; .*give optics\.pixel_size",
        ),
    ],
)
def test_what_cryodrgn_cannot_parse_is_explained(read: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read()


def test_relion_30_pixel_size_comes_from_detector_and_magnification() -> None:
    path = _file("FinalRefinement-OriginalParticles-PfCRT.star")
    ctf = ctf_from_star(path, CtfOverrides(box_size=300, amplitude_contrast=0.1))
    np.testing.assert_allclose(ctf[:, 1], 1.035, rtol=1e-6)


def test_each_particle_keeps_its_optics_group() -> None:
    ctf = ctf_from_star(_file("relion31.6opticsgroups.star"))
    assert ctf.shape == (139, 9)
    np.testing.assert_allclose(np.unique(ctf[:, 1]), [1.24, 1.25], rtol=1e-6)


def _cs(path: Path, dtype: list[tuple[object, ...]], rows: int = 3) -> Path:
    with path.open("wb") as file:
        np.save(file, np.zeros(rows, dtype=dtype))
    return path


def test_a_zero_rotation_vector_is_the_identity(tmp_path: Path) -> None:
    fields = [("alignments3D/pose", "f4", 3), ("alignments3D/shift", "f4", 2)]
    path = _cs(tmp_path / "x.cs", [*fields, ("blob/shape", "u4", 2)])
    table = np.load(path)
    table["blob/shape"] = 64
    with path.open("wb") as file:
        np.save(file, table)
    np.testing.assert_array_equal(
        poses_from_cryosparc(path).rotation, np.tile(np.eye(3), (3, 1, 1))
    )


def test_odd_cs_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.cs"
    with pytest.raises(FileNotFoundError, match=r"x\.cs: no such file"):
        CryosparcParticles(path)
    with path.open("wb") as file:
        np.save(file, np.zeros((4, 3)))
    with pytest.raises(ValueError, match=r"one-dimensional structured array, found dtype float64"):
        CryosparcParticles(path)
    with pytest.raises(ValueError, match=r"x\.cs: no rows"):
        CryosparcParticles(_cs(path, [("blob/idx", "u4")], rows=0))


def test_odd_cs_fields_are_refused(tmp_path: Path) -> None:
    path = _cs(
        tmp_path / "x.cs",
        [("alignments3D/pose", "f4", 2), ("ctf/df1_A", "S3"), ("blob/path", "u4")],
    )
    table = CryosparcParticles(path)
    with pytest.raises(ValueError, match=r"pose must hold numbers of shape \(3,\), .*\(2,\)"):
        table.numbers("alignments3D/pose", 3)
    with pytest.raises(ValueError, match=r"ctf/df1_A must hold numbers of shape \(\), found \|S3"):
        table.numbers("ctf/df1_A")
    with pytest.raises(ValueError, match=r"blob/path must hold text, found uint32"):
        table.paths()
    with pytest.raises(ValueError, match=r"x\.cs: no field blob/idx"):
        table.numbers("blob/idx")
    values = np.load(_cs(path, [("a", "f4")]))
    values["a"][1] = np.nan
    with path.open("wb") as file:
        np.save(file, values)
    with pytest.raises(ValueError, match=r"x\.cs, row 2: a is not finite"):
        CryosparcParticles(path).numbers("a")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ({"voltage_kv": 0.0}, r"optics\.voltage_kv is 0, expected 10 to 3000 kV"),
        ({"pixel_size": -1.0}, r"optics\.pixel_size is -1, expected 0\.01 to 1000 Å per pixel"),
        (
            {"amplitude_contrast": 7.0},
            r"optics\.amplitude_contrast is 7, expected -1 to 1",
        ),
    ],
)
def test_impossible_ctf_is_refused(override: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ctf_from_star(_file("relion31.star"), CtfOverrides(**override))


def test_rotations_of_real_tables_are_orthonormal() -> None:
    rotation = torch.from_numpy(poses_from_star(_file("relion5.star")).rotation)
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
