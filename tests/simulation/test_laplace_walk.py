from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cryo_disentangle.simulation import LaplacePairs, LaplaceWalk
from cryo_disentangle.simulation.draws import Draws


@settings(max_examples=25)
@given(st.integers(1, 12), st.integers(0, 90), st.integers(1, 40))
def test_a_walk_is_the_same_in_whatever_piece(frames: int, start: int, count: int) -> None:
    walk = LaplaceWalk(frames=frames, frame_interval=0.5)
    whole = walk.sample(Draws.consecutive((1,), 0, 140))
    piece = walk.sample(Draws.consecutive((1,), start, count))
    here = slice(start, start + count)
    torch.testing.assert_close(piece.factors, whole.factors[here])
    for name in ("time", "trajectory"):
        assert torch.equal(getattr(piece, name), getattr(whole, name)[here])
    assert piece.time is not None
    assert torch.equal(piece.time, (torch.arange(start, start + count) % frames) * 0.5)


def test_a_walk_is_reflected_and_stays_uniform() -> None:
    walk = LaplaceWalk(dim=2, scale=0.5, frames=20, low=-1, high=2)
    factors = walk.sample(Draws.consecutive((1,), 0, 40_000)).factors.unflatten(0, (-1, 20))
    assert float(factors.min()) >= -1
    assert float(factors.max()) <= 2
    for frame in (0, 1, 19):
        sample = factors[:, frame].flatten().numpy()
        assert stats.kstest(sample, stats.uniform(-1, 3).cdf).pvalue > 1e-3


def test_steps_in_the_interior_are_laplace_and_independent() -> None:
    walk = LaplaceWalk(dim=2, scale=0.01, frames=30)
    factors = walk.sample(Draws.consecutive((2,), 0, 30_000)).factors.unflatten(0, (-1, 30))
    inside = factors.abs().amax(dim=(1, 2)) < 0.9
    steps = factors[inside].diff(dim=1)
    assert stats.kstest(steps.flatten().numpy(), stats.laplace(0, 0.01).cdf).pvalue > 1e-3
    correlation = torch.corrcoef(torch.stack([steps[:, :-1].flatten(), steps[:, 1:].flatten()]))
    assert abs(float(correlation[0, 1])) < 4 / steps[:, 1:].numel() ** 0.5


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive, found 2, 0, 50, 1"):
        LaplaceWalk(scale=0)
    with pytest.raises(ValueError, match="low < high"):
        LaplaceWalk(low=1, high=1)


def test_pairs_start_normal_and_take_laplace_steps() -> None:
    pairs = LaplacePairs(dim=2, start_scale=0.4, scale=0.2)
    whole = pairs.sample(Draws.consecutive((1,), 0, 20_000))
    first, step = whole.factors[::2], whole.factors[1::2] - whole.factors[::2]
    assert stats.kstest(first.flatten().numpy(), stats.norm(0, 0.4).cdf).pvalue > 1e-3
    assert stats.kstest(step.flatten().numpy(), stats.laplace(0, 0.2).cdf).pvalue > 1e-3
    both = torch.corrcoef(torch.cat([first, step], dim=1).T)
    assert float((both - torch.eye(4)).abs().max()) < 0.05
    piece = pairs.sample(Draws.consecutive((1,), 7, 6))
    torch.testing.assert_close(piece.factors, whole.factors[7:13])
    assert piece.trajectory is not None
    assert piece.time is not None
    assert piece.trajectory.tolist() == [3, 4, 4, 5, 5, 6]
    assert piece.time.tolist() == [1, 0, 1, 0, 1, 0]
    with pytest.raises(ValueError, match=r"must be positive, found 2, 0\.4 and 0"):
        LaplacePairs(scale=0)
