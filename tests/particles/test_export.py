from __future__ import annotations

import numpy as np
import pytest
import starfile

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.export import write_particles_star
from tests.particles.conftest import BOX_SIZE, Files


@pytest.mark.filterwarnings("ignore:.*pixel sizes differ:UserWarning")
def test_written_particles_open_equal(files: Files) -> None:
    files.ctf[6:, 1], files.ctf[3:, 5], files.ctf[:, 8] = 2.0, 200, 15
    path = files.folder / "x.star"
    write_particles_star(
        path,
        "stack.mrcs",
        box_size=BOX_SIZE,
        pixel_size=3.0,
        rotation=files.rotation,
        translation_px=files.translation_px,
        ctf=files.ctf,
        extra={"_rlnRandomSubset": np.arange(12) % 2 + 1},
    )
    stack = ParticleStack.open(path)
    assert stack.rotation is not None
    assert stack.translation is not None
    assert stack.ctf is not None
    np.testing.assert_array_equal(stack.read(range(12)), files.images)
    np.testing.assert_allclose(stack.rotation, files.rotation, atol=1e-6)
    np.testing.assert_allclose(stack.translation, files.translation_px, rtol=1e-6)
    # The table tells the pixel size at the box at hand, not at the original one.
    np.testing.assert_allclose(stack.ctf[:, 0] * stack.ctf[:, 1], files.ctf[:, 0] * files.ctf[:, 1])
    np.testing.assert_array_equal(stack.ctf[:, 2:], files.ctf[:, 2:])
    theirs = starfile.read(path)
    assert len(theirs["optics"]) == 3
    assert list(theirs["particles"]["rlnImageName"])[1] == "000002@stack.mrcs"
    np.testing.assert_array_equal(theirs["particles"]["rlnRandomSubset"], np.arange(12) % 2 + 1)


def test_particles_without_ctf(files: Files) -> None:
    path = files.folder / "x.star"
    names = [f"{12 - i}@stack.mrcs" for i in range(12)]
    write_particles_star(path, names, box_size=BOX_SIZE, pixel_size=3.0, rotation=files.rotation)
    stack = ParticleStack.open(path)
    assert stack.ctf is None
    assert stack.pixel_size == 3.0
    assert stack.translation is not None
    np.testing.assert_array_equal(stack.translation, np.zeros((12, 2)))
    np.testing.assert_array_equal(stack.read(range(12)), files.images[::-1])


def test_counts_must_agree(files: Files) -> None:
    path = files.folder / "x.star"
    with pytest.raises(ValueError, match=r"12 rotations, .* shape \(11, 2\) and 12 CTF rows disag"):
        write_particles_star(
            path,
            "stack.mrcs",
            box_size=BOX_SIZE,
            pixel_size=3.0,
            rotation=files.rotation,
            translation_px=files.translation_px[1:],
        )
    files.ctf[2, 5] = 0
    with pytest.raises(ValueError, match=r"x\.star, row 3: voltage is 0, expected 10 to 3000 kV"):
        write_particles_star(
            path,
            "stack.mrcs",
            box_size=BOX_SIZE,
            pixel_size=3.0,
            rotation=files.rotation,
            ctf=files.ctf,
        )
    assert not path.exists()
