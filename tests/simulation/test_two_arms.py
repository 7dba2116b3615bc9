from __future__ import annotations

import pytest
import torch

from cryo_disentangle.simulation import TwoArms


def test_default_molecule_is_the_papers() -> None:
    molecule = TwoArms()
    assert molecule.dim == 2
    assert molecule.centres(torch.zeros(3, 2)).shape == (3, 60, 3)
    assert molecule.weights.tolist() == [1.0] * 60


@pytest.mark.parametrize("arms", [2, 3, 4, 5])
def test_each_coordinate_turns_its_own_arm_rigidly(arms: int) -> None:
    molecule = TwoArms(lengths=[30.0, 26, 34, 22, 28][:arms])
    rest = molecule.centres(torch.zeros(1, arms))[0].unflatten(0, (arms + 1, 20))
    moved = molecule.centres(torch.eye(arms)).unflatten(1, (arms + 1, 20))
    for k in range(arms):
        for part in range(arms + 1):
            if part == k + 1:
                assert float((moved[k, part] - rest[part]).norm(dim=-1).max()) > 10
                torch.testing.assert_close(
                    torch.cdist(moved[k, part], moved[k, part]),
                    torch.cdist(rest[part], rest[part]),
                    atol=1e-3,
                    rtol=0,
                )
            else:
                torch.testing.assert_close(moved[k, part], rest[part], atol=1e-6, rtol=0)


def test_a_heavy_body_stays_when_arms_turn() -> None:
    molecule = TwoArms(body_gaussians=50)
    rest, moved = molecule.centres(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))
    assert len(rest) == len(molecule.weights) == 90
    moving = (moved - rest).norm(dim=-1) > 0
    assert moving.nonzero()[:, 0].tolist() == list(range(50, 70))


def test_the_tip_turns_by_the_angle() -> None:
    axis, direction = (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)
    molecule = TwoArms(
        lengths=(40, 30),
        directions=[direction, (0, 1, 0)],
        axes=[axis, (1, 0, 0)],
        max_angle_deg=90,
    )
    tip = molecule.centres(torch.tensor([[1.0, 0.0]]))[0, 39]
    # 39.0 Å along an arm that leaves the body at x = 14, turned from x to y.
    torch.testing.assert_close(tip, torch.tensor([14.0, 39.0, 0.0]), atol=1e-4, rtol=0)


def test_no_turn_nor_mirror_image_exchanges_parts() -> None:
    # Distances between body, tips and roots tell the arms apart.
    centres = TwoArms().centres(torch.zeros(1, 2))[0]
    first, second = centres[39], centres[59]
    assert abs(float(first.norm() - second.norm())) > 5
    # Three directions in space: determinant of body, arm and hinge is not zero.
    hinge = TwoArms().hinges[1]
    frame = torch.stack([first, second, torch.tensor(hinge.axis)])
    assert abs(float(torch.linalg.det(torch.nn.functional.normalize(frame, dim=1)))) > 0.1


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="arms: 2 to 5 lengths expected, found 1"):
        TwoArms(lengths=[30])
    with pytest.raises(ValueError, match="axes: one for each of 2 arms expected, found 1"):
        TwoArms(axes=[(0, 0, 1)])
    with pytest.raises(
        ValueError, match="lengths, radii, sigma and counts must be positive, found 0"
    ):
        TwoArms(sigma_angstrom=0)
    with pytest.raises(ValueError, match="an arm's direction has zero length"):
        TwoArms(directions=[(0, 0, 0), (1, 0, 0)])
    with pytest.raises(ValueError, match="hinge's axis must have a direction"):
        TwoArms(axes=[(0, 0, 0), (1, 0, 0)])
