"""Views that depend on the conformation are told from a latent space that knows the view."""

from __future__ import annotations

import pytest
import roma
import torch
from torch import Tensor

from cryo_disentangle.judgement.entanglement import ENTANGLED, measure_entanglement
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import measure_leaks, measure_truth
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.judgement.verdict import judge
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.entangled_views import EntangledViews

COUNT = 1500


def particles(share: float) -> tuple[Tensor, Tensor]:
    """Factors and views, of which a share does not depend on the factors."""
    factors = torch.rand(COUNT, 2, generator=torch.Generator().manual_seed(0))
    views = EntangledViews(concentration=10.0, angle_deg=120.0, mixed=share)
    return factors, views.rotations_of(Draws.consecutive((0, 0), 0, COUNT), factors).float()


def measured(z: Tensor, factors: Tensor, rotation: Tensor) -> Measurement:
    found = Measurement()
    table = InferredParticles.of(z, rotation=rotation, factors=factors)
    for measure in (measure_leaks, measure_truth, measure_entanglement):
        measure(found, table)
    return found


def test_a_perfect_z_of_entangled_particles_is_not_blamed() -> None:
    factors, rotation = particles(0.0)
    found = measured(factors @ torch.tensor([[1.0, 0.5], [-0.5, 1.0]]), factors, rotation)
    assert found.scores["pose_leak"]["pose_leak_nonlinear_r2"].value > 0.25
    group = found.scores["entanglement"]
    assert group["factors_from_view"].value > 0.5
    assert group["leak_given_factors"].value < 0.01
    verdict = judge(found.scores)
    assert verdict.verdict == "conformation"
    (said,) = (reason for reason in verdict.reasons if "depend on the view" in reason)
    assert "perfect z has a pose leak" in said


def test_a_z_that_knows_more_of_the_view_than_the_factors_do_is_blamed() -> None:
    factors, rotation = particles(0.0)
    turned = roma.rotmat_to_rotvec(rotation)[:, :2]
    found = measured(factors + 0.5 * turned, factors, rotation)
    assert found.scores["entanglement"]["leak_given_factors"].value > 0.25
    assert judge(found.scores).verdict == "viewing direction"


@pytest.mark.parametrize("share", [1.0])
def test_independent_views_change_nothing(share: float) -> None:
    factors, rotation = particles(share)
    found = measured(factors, factors, rotation)
    assert found.scores["entanglement"]["factors_from_view"].value < ENTANGLED
    assert not any("depend on the view" in reason for reason in judge(found.scores).reasons)


def test_without_truth_nothing_is_said() -> None:
    found = Measurement()
    measure_entanglement(found, InferredParticles.of(torch.randn(20, 2)))
    assert not found.scores
