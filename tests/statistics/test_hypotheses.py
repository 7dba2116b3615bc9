"""A hypothesis of a pose has the statistics and the evidence that the pose itself would have."""

import math

import pytest
import roma
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.statistics.hypotheses import Hypotheses, PoseSearch, hypothesis_likelihood
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import Likelihood, residuals
from tests.statistics.test_posterior import random_subspace, random_views


@settings(max_examples=3)
@given(seed=st.integers(0, 2**20))
def test_a_hypothesis_has_the_statistics_of_the_corrected_pose(seed: int) -> None:
    subspace = random_subspace(seed)
    views = random_views(subspace, 3, seed).whitened(subspace.point_noise)
    generator = torch.Generator().manual_seed(seed)
    angles = 40 * torch.randn(3, 3, generator=generator)
    shifts = torch.randn(2, 2, generator=generator)
    turns = roma.rotvec_to_rotmat(angles * (math.pi / 180))
    tried = Hypotheses(turns, shifts)
    found = hypothesis_likelihood(subspace.grid, subspace.paired, views, tried)
    for number in range(6):
        turn, shift = number // 2, number % 2
        error = torch.cat([shifts[shift], angles[turn]]).expand(3, 5)
        moved = Nuisance(1.0, 1.0).corrected(views, error, subspace.grid)
        seen = residuals(subspace.grid, subspace.paired, moved)
        expected = Likelihood.of(seen.columns)
        got = (
            found.precision[:, turn],
            found.information[:, turn, shift],
            found.offset[:, turn, shift],
            found.evidence()[:, turn, shift],
        )
        # The evidence is what the posterior gains on the image without coefficients.
        evidence = expected.posterior().gain - expected.offset / 2
        for mine, theirs in zip(got, (*expected, evidence), strict=True):
            assert float((mine - theirs).norm() / theirs.norm()) < 1e-5
        chosen_turn, chosen_shift = tried.of_row(torch.tensor([number]))
        torch.testing.assert_close(chosen_turn[0], turns[turn])
        torch.testing.assert_close(chosen_shift[0], shifts[shift])


def test_the_evidence_is_the_integral_over_coefficients() -> None:
    subspace = random_subspace(rank=2)
    views = random_views(subspace, 2).whitened(subspace.point_noise * 400)
    turns = in_plane_rotation(2 * math.pi * torch.arange(4) / 4)
    tried = Hypotheses(turns, torch.zeros(1, 2))
    found = hypothesis_likelihood(subspace.grid, subspace.paired, views, tried)
    axis = torch.linspace(-6, 6, 121)
    grid = torch.cartesian_prod(axis, axis)
    quadratic = torch.einsum("gi,bhij,gj->bhg", grid, found.precision, grid)
    log = found.information[:, :, 0] @ grid.T - 0.5 * quadratic - 0.5 * found.offset
    log = log - 0.5 * grid.square().sum(1) - math.log(2 * math.pi) + 2 * math.log(0.1)
    direct = log.double().logsumexp(2)
    torch.testing.assert_close(found.evidence()[..., 0].double(), direct, rtol=1e-4, atol=1e-3)
    # So are the probabilities of hypotheses.
    torch.testing.assert_close(
        found.evidence()[..., 0].softmax(1).double(), direct.softmax(1), rtol=1e-3, atol=1e-4
    )


def test_lattices_hold_what_the_prior_allows() -> None:
    search = PoseSearch(rotation=8.0, shift=1.5)
    tried = search.hypotheses(math.radians(6), 1.0, math.inf)
    angles = roma.rotmat_to_rotvec(tried.turn).norm(dim=1).rad2deg()
    assert float(angles.max()) <= 2.6 * 8 + 1e-3
    assert float(tried.shift.norm(dim=1).max()) <= 2.6 * 1.5 + 1e-3
    assert int((angles < 1e-3).sum()) == 1
    # Volume of the ball over that of a cell.
    assert len(angles) == pytest.approx(4 / 3 * math.pi * (20.8 / 6) ** 3, rel=0.15)
    near = search.hypotheses(math.radians(6), 1.0, 1.0)
    assert (len(near.turn), len(near.shift)) == (7, 5)


def test_unknown_in_plane_angles_go_around() -> None:
    tried = PoseSearch(in_plane=True).hypotheses(math.radians(10), 1.0, 1.0)
    assert tried.turn.shape == (36, 3, 3)
    assert tried.shift.tolist() == [[0, 0]]
    assert float((tried.turn[:, 2, 2] - 1).abs().max()) < 1e-6
    tilted = PoseSearch(rotation=4.0, in_plane=True).hypotheses(math.radians(10), 1.0, math.inf)
    assert len(tilted.turn) == 36 * 5


def test_priors_count_what_is_known() -> None:
    turn = roma.rotvec_to_rotmat(torch.tensor([[0.1, 0.0, 0.0], [0.0, 0.0, 0.1]]))
    shift = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    both = PoseSearch(rotation=math.degrees(0.1), shift=1.0).log_prior(turn, shift)
    torch.testing.assert_close(both, torch.tensor([-1.0, -2.5]), rtol=1e-3, atol=1e-4)
    around = PoseSearch(rotation=math.degrees(0.1), in_plane=True).log_prior(turn, shift)
    torch.testing.assert_close(around, torch.tensor([-0.5, 0.0]), rtol=1e-3, atol=1e-4)
    assert float(PoseSearch(in_plane=True).log_prior(turn, shift)) == 0


@pytest.mark.parametrize("name", ["rotation", "shift"])
@pytest.mark.parametrize("value", [-1.0, math.inf, math.nan])
def test_refuses_what_is_no_deviation(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a standard deviation, 0 or more, found"):
        PoseSearch(**{name: value})  # type: ignore[arg-type]


def test_refuses_a_radius_without_signal() -> None:
    with pytest.raises(ValueError, match="radius must be at least 4, found 3"):
        PoseSearch(in_plane=True, radius=3)
