from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.particles.star import StarParticles
from tests.helpers import shared


def test_six_optics_groups_are_joined() -> None:
    particles = StarParticles(shared("data/cryodrgn_tests/relion31.6opticsgroups.star"))
    pixel_sizes = particles.numbers("_rlnImagePixelSize")
    group = particles.particles.numbers("_rlnOpticsGroup")
    assert len(particles) == len(pixel_sizes) == 139
    expected = np.array([1.25, 1.24, 1.25, 1.25, 1.24, 1.25])
    np.testing.assert_array_equal(pixel_sizes, expected[group.astype(int) - 1])
    assert "_rlnVoltage" in particles
    assert "_rlnNothing" not in particles


_OPTICS = "data_optics\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n1 300\n2 200\n"


def test_missing_optics_groups_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    path.write_text(_OPTICS)
    with pytest.raises(ValueError, match=r"x\.star: no particle table beside data_optics"):
        StarParticles(path)
    path.write_text(_OPTICS + "data_particles\nloop_\n_a\n_rlnOpticsGroup\n5 2\n6 3\n7 1\n")
    with pytest.raises(
        ValueError, match=r"row 2 of data_particles: optics group 3 is not in data_optics.* 1, 2"
    ):
        StarParticles(path)
    path.write_text(_OPTICS + "data_particles\nloop_\n_a\n5\n6\n7\n")
    with pytest.raises(ValueError, match=r"no column _rlnOpticsGroup in table data_particles"):
        StarParticles(path)


def test_one_number_written_in_two_ways_is_one(tmp_path: Path) -> None:
    path = tmp_path / "x.star"
    particles = "data_particles\nloop_\n_a\n_rlnOpticsGroup\n5 2\n6 1\n"
    path.write_text(_OPTICS + "2 200.000\n" + particles)
    assert StarParticles(path).numbers("_rlnVoltage").tolist() == [200, 300]
    path.write_text(_OPTICS + "2 200.001\n" + particles)
    with pytest.raises(ValueError, match=r"optics group 2 is twice .* rows 2 and 3, with _rlnVolt"):
        StarParticles(path)
