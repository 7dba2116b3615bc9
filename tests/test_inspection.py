"""A first look at stacks: what is told, and what is odd."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.inspection import inspect_stack
from cryo_disentangle.particles import ParticleStack
from tests import tiny


def opened(files: dict[str, Any], *, tables: bool = True) -> ParticleStack:
    if not tables:
        return ParticleStack.open(files["particles"])
    return ParticleStack.open(files["particles"], poses=files["poses"], ctf=files["ctf"])


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return tiny.write_stack(tmp_path_factory.mktemp("stack"), count=300)


def changed(files: dict[str, Any], folder: Path, change: Any) -> dict[str, Any]:
    """The same stack with other images."""
    with mrcfile.open(files["particles"]) as file:
        images = np.array(file.data)
    path = folder / "other.mrcs"
    with mrcfile.new(path) as file:
        file.set_data(change(images))
        file.voxel_size = tiny.PIXEL_SIZE
        file.set_image_stack()
    return files | {"particles": str(path)}


def test_a_stack_without_faults(files: dict[str, Any]) -> None:
    found = inspect_stack(opened(files))
    assert found.lines["particles"] == "300 of 16 px, 3.5 Å per px (box 56 Å)"
    assert found.lines["contrast"].startswith("particles are bright (centre +")
    assert "to 1.34 µm" in found.lines["defocus"]
    assert "300 kV, 2.7 mm Cs, 0.1 amplitude contrast" in found.lines["defocus"]
    assert int(found.lines["views"].split()[3]) > 85
    assert found.odd == []
    assert str(found).splitlines()[-1].split() == ["odd", "nothing"]


def test_what_is_not_known_is_told(files: dict[str, Any]) -> None:
    found = inspect_stack(opened(files, tables=False))
    assert found.lines["defocus"] == found.lines["views"] == "not known"
    assert found.odd[0].startswith("particles are bright, and fit inverts images")
    assert found.odd[1:] == ["no CTF in stack.mrcs", "no poses in stack.mrcs"]


def test_dark_and_unclear_particles(files: dict[str, Any], tmp_path: Path) -> None:
    dark = inspect_stack(opened(changed(files, tmp_path, np.negative)))
    assert dark.odd[0].startswith("particles are dark, and fit inverts images where the file")
    (tmp_path / "other.mrcs").unlink()
    noise = np.random.default_rng(0).standard_normal((300, 16, 16)).astype(np.float32)
    unclear = inspect_stack(opened(changed(files, tmp_path, lambda _: noise)))
    assert unclear.lines["contrast"].startswith("not clear")


def test_odd_images_views_and_shifts(files: dict[str, Any], tmp_path: Path) -> None:
    def spoil(images: Any) -> Any:
        images[3] = 0
        images[7] *= 100
        return images

    stack = opened(changed(files, tmp_path, spoil))
    assert stack.rotation is not None
    assert stack.translation is not None
    stack.rotation[:] = stack.rotation[0]
    stack.translation[0] = 9
    assert inspect_stack(stack).odd == [
        "1 of 300 inspected images are constant or not finite",
        "1 of 300 inspected images have an unusual standard deviation",
        "views are uneven, as if from 4 % of directions: maps may be smeared",
        "all particles have the same pose",
        "1 particles are shifted by more than a quarter of the box",
    ]


def test_a_sign_that_makes_volumes_negative(files: dict[str, Any]) -> None:
    # White particles with a CTF are its negative times the projection, blob/sign -1.
    stack = opened(files)
    stack.positive = False
    assert inspect_stack(stack).odd == []
    stack.positive = True
    odd = inspect_stack(stack).odd
    assert len(odd) == 1
    assert odd[0].startswith(
        "particles are bright, and fit does not invert images whose blob/sign is +1: volumes come "
        "out negative without --data.invert true"
    )


def test_the_command_draws_and_says_how_to_go_on(
    files: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tables = ["--poses", files["poses"], "--ctf", files["ctf"]]
    main(["inspect", files["particles"], *tables])
    printed = capsys.readouterr().out
    assert "Picture: stack_inspection.png" in printed
    assert f"--data.particles {files['particles']} --data.poses {files['poses']}" in printed
    assert (tmp_path / "stack_inspection.png").read_bytes().startswith(b"\x89PNG")
    main(["inspect", files["particles"], "--out", "bare.png"])
    assert "two_arm_pose_vae.yaml" in capsys.readouterr().out
