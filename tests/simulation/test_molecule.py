from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryo_disentangle.simulation import AdenylateKinase, Hinge, TwoArms
from cryo_disentangle.simulation.molecule import move_hinges


@settings(max_examples=30)
@given(st.integers(0, 1000), st.floats(-2, 2), st.floats(0, 1))
def test_a_hinge_is_the_screw_it_says(seed: int, coordinate: float, weight: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(5, 3)) * 10
    hinge = Hinge(tuple(rng.normal(size=3)), tuple(rng.normal(size=3) * 5), 50.0, 1.7)
    axis, origin = np.array(hinge.axis), np.array(hinge.point)
    amount = weight * coordinate
    turn = Rotation.from_rotvec(np.radians(hinge.angle_deg) * amount * axis).as_matrix()
    expected = (points - origin) @ turn.T + origin + amount * hinge.shift * axis
    weights = torch.full((1, 5), weight, dtype=torch.float64)
    conformation = torch.tensor([[coordinate]], dtype=torch.float64)
    found = move_hinges(torch.from_numpy(points), conformation, (hinge,), weights)[0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-9)


def test_an_axis_has_unit_length_and_a_direction() -> None:
    assert Hinge((0, 3, 4), (0, 0, 0), 10).axis == (0, 0.6, 0.8)
    with pytest.raises(ValueError, match="hinge's axis must have a direction"):
        Hinge((0, 0, 0), (0, 0, 0), 10)


def test_centres_are_differentiable_in_the_conformation() -> None:
    molecule = TwoArms()
    conformation = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(molecule.centres, (conformation,))


def test_projection_in_steps_is_projection_at_once() -> None:
    molecule = AdenylateKinase()
    generator = torch.Generator().manual_seed(0)
    conformation = torch.rand(20, 2, generator=generator)
    rotation = torch.eye(3).expand(20, 3, 3)
    shift = torch.randn(20, 2, generator=generator)
    together = molecule.project(conformation, rotation, shift, 64, 1.6)
    apart = [
        molecule.project(conformation[i : i + 1], rotation[:1], shift[i : i + 1], 64, 1.6)
        for i in range(20)
    ]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-4)


def test_true_volume_projects_to_the_image() -> None:
    molecule = TwoArms()
    conformation = torch.tensor([[0.5, -0.5]])
    volume = molecule.volume(conformation, 32, 4.25)[0]
    image = molecule.project(conformation, torch.eye(3)[None], torch.zeros(1, 2), 32, 4.25)[0]
    torch.testing.assert_close(volume.sum(0), image, rtol=0, atol=1e-5)
    assert float(volume.sum()) == pytest.approx(60, rel=1e-3)


def test_a_box_too_small_is_refused_with_the_box_needed() -> None:
    molecule = TwoArms()
    conformation = torch.zeros(1, 2)
    needed = 2 * int(np.ceil(molecule.radius(conformation) / 4.0))
    molecule.check(conformation, needed, 4.0)
    with pytest.raises(ValueError, match=f"needs a box of {needed} pixels at 4 Å per pixel"):
        molecule.check(conformation, needed - 2, 4.0)
