from __future__ import annotations

import pytest
import torch

from cryo_disentangle.simulation import AdenylateKinase, Microscope, Simulation, UniformFactors
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.entangled_views import EntangledViews

DRAWS = Draws.consecutive((3,), 0, 4000)


@pytest.mark.parametrize(
    ("factor", "direction"), [(-1.0, (1, 0, 0)), (0.5, (0.5**0.5,) * 2 + (0,))]
)
def test_preferred_direction_turns_with_the_factor(
    factor: float, direction: tuple[float, ...]
) -> None:
    views = EntangledViews(concentration=50.0, factor=1, low=0.0, high=1.0, angle_deg=90.0)
    factors = torch.tensor([[7.0, factor]]).expand(4000, 2)
    rotation = views.rotations_of(DRAWS, factors)
    identity = torch.eye(3, dtype=torch.float64).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    mean = rotation[:, 2].mean(0)
    # The mean of a von Mises-Fisher distribution is coth κ - 1/κ long.
    torch.testing.assert_close(mean, 0.98 * torch.tensor(direction).double(), atol=0.01, rtol=0)


def test_a_share_is_seen_from_everywhere() -> None:
    views = EntangledViews(concentration=50.0, mixed=0.4)
    rotation = views.rotations_of(DRAWS, torch.zeros(4000, 1))
    assert rotation[:, 2, 0].mean().item() == pytest.approx(0.6 * 0.98, abs=0.03)


def test_views_follow_conformations_in_a_simulation() -> None:
    views = EntangledViews(concentration=1000.0, angle_deg=90.0)
    simulation = Simulation(
        AdenylateKinase(), UniformFactors(2, 0.0, 1.0), Microscope(views), 64, 32, 4.0
    )
    particles = simulation.describe(simulation.stack_draws(0, 64))
    direction = particles.rotation[:, 2]
    angle = torch.rad2deg(torch.atan2(direction[:, 1], direction[:, 0]))
    torch.testing.assert_close(angle, 90 * particles.factors[:, 0], atol=8.0, rtol=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"concentration": 0.0}, "concentration must be positive"),
        ({"low": 1.0, "high": 1.0}, "low < high"),
        ({"mixed": 1.5}, "share from 0 to 1, found 1.5"),
        ({"factor": -1}, "factor from 0 on expected, found -1"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EntangledViews(**arguments)  # type: ignore[arg-type]


def test_a_factor_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"views depend on factor 2 .*the simulation has 2"):
        EntangledViews(factor=2).rotations_of(DRAWS, torch.zeros(4000, 2))
