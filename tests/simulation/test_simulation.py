from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.simulation import (
    AdenylateKinase,
    ContrastTransferRange,
    InPlaneViews,
    LaplaceWalk,
    LinearMixing,
    Microscope,
    NormalShifts,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.particles import Particles

SIMULATION = Simulation(
    TwoArms(),
    LaplaceWalk(frames=7),
    Microscope(UniformViews(), NormalShifts(0.5), ContrastTransferRange(), WhiteNoise(0.5)),
    n_images=100,
    mixing=LinearMixing(),
    seed=4,
)


def test_particles_do_not_depend_on_the_pieces_they_are_made_in() -> None:
    images, particles = SIMULATION.images(SIMULATION.stack_draws(0, 60))
    part, described = SIMULATION.images(SIMULATION.stack_draws(23, 20))
    torch.testing.assert_close(part, images[23:43], atol=1e-5, rtol=0)
    for name, value in described._asdict().items():
        if value is not None:
            torch.testing.assert_close(value, getattr(particles, name)[23:43])


def test_another_seed_is_another_stack() -> None:
    other = replace(SIMULATION, seed=5)
    first = SIMULATION.describe(SIMULATION.stack_draws(0, 50))
    second = other.describe(other.stack_draws(0, 50))
    assert not torch.allclose(first.factors, second.factors)
    assert not torch.allclose(first.rotation, second.rotation)


def test_hinges_are_the_mixed_factors() -> None:
    particles = SIMULATION.describe(SIMULATION.stack_draws(0, 50))
    expected = LinearMixing().mix(particles.factors.double()).float()
    torch.testing.assert_close(particles.hinges, expected)
    unmixed = replace(SIMULATION, mixing=None)
    plain = unmixed.describe(unmixed.stack_draws(0, 50))
    assert torch.equal(plain.hinges, plain.factors)
    assert plain.trajectory is not None
    assert plain.trajectory[[0, 6, 7]].tolist() == [0, 0, 1]


def test_protein_is_white_with_ctf_and_dark_without() -> None:
    with_ctf = replace(SIMULATION, molecule=AdenylateKinase(), box_size=64, pixel_size=1.7)
    without = replace(with_ctf, microscope=Microscope(UniformViews()))
    for simulation, sign in ((with_ctf, 1), (without, -1)):
        particles = simulation.describe(simulation.stack_draws(0, 32))
        clean = simulation.clean(particles)
        density = simulation.molecule.project(
            particles.hinges, particles.rotation, particles.translation, 64, 1.7
        )
        correlation = torch.corrcoef(torch.stack([clean.flatten(), density.flatten()]))[0, 1]
        assert sign * float(correlation) > 0.1


def test_content_sits_opposite_to_the_translation() -> None:
    simulation = replace(SIMULATION, microscope=Microscope(InPlaneViews()))
    at_rest = simulation.describe(simulation.stack_draws(0, 1))
    moved = at_rest._replace(translation=torch.tensor([[3.0, -2.0]]))
    image, shifted = simulation.clean(at_rest)[0], simulation.clean(moved)[0]
    # Moving the content by +t, to larger column and row, centres it.
    centred = shifted.roll((-2, 3), dims=(0, 1))
    torch.testing.assert_close(centred[6:-6, 6:-6], image[6:-6, 6:-6], atol=1e-4, rtol=0)


def test_relion_angles_of_a_view_place_a_blob_where_relion_does() -> None:
    particles = SIMULATION.describe(SIMULATION.stack_draws(0, 5))
    rot, tilt, psi = torch.deg2rad(rotation_to_euler_zyz(particles.rotation.double())).unbind(1)
    # First row of RELION's A(rot, tilt, psi), from its manual.
    row = torch.stack(
        [
            psi.cos() * tilt.cos() * rot.cos() - psi.sin() * rot.sin(),
            psi.cos() * tilt.cos() * rot.sin() + psi.sin() * rot.cos(),
            -psi.cos() * tilt.sin(),
        ],
        dim=1,
    )
    torch.testing.assert_close(particles.rotation[:, 0].double(), row, atol=1e-5, rtol=0)


def test_noise_level_does_not_depend_on_the_number_of_images() -> None:
    assert replace(SIMULATION, n_images=7).noise_std == SIMULATION.noise_std > 0


def test_particles_may_be_given_by_hand() -> None:
    mine = Particles(
        factors=torch.zeros(1, 2),
        hinges=torch.zeros(1, 2),
        rotation=torch.eye(3)[None],
        translation=torch.zeros(1, 2),
    )
    assert SIMULATION.clean(mine).shape == (1, 32, 32)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n_images and pixel_size must be positive"):
        replace(SIMULATION, n_images=0)
    with pytest.raises(ValueError, match="box_size must be even and positive, found 33"):
        replace(SIMULATION, box_size=33)
    with pytest.raises(ValueError, match="differ: process 3, molecule 2, mixing 2"):
        replace(SIMULATION, process=UniformFactors(3))
    with pytest.raises(ValueError, match="differ: process 2, molecule 2, mixing 3"):
        replace(SIMULATION, mixing=LinearMixing(3))
    with pytest.raises(
        ValueError, match=r"the molecule needs a box of 6\d pixels at 2 Å per pixel"
    ):
        replace(SIMULATION, pixel_size=2.0, process=UniformFactors(2, -0.01, 0.01))
