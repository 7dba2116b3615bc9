from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cryo_disentangle.simulation.draws import Draws


@settings(max_examples=30)
@given(st.integers(0, 200), st.integers(1, 50), st.integers(1, 9), st.integers(0, 2**31))
def test_a_particle_has_the_same_numbers_in_whatever_piece(
    start: int, count: int, columns: int, seed: int
) -> None:
    whole = Draws.consecutive((seed,), 0, 260)
    piece = Draws.consecutive((seed,), start, count)
    here = slice(start, start + count)
    assert torch.equal(whole.uniform("x", columns)[here], piece.uniform("x", columns))
    assert torch.equal(whole.normal_images("n", 4)[here], piece.normal_images("n", 4))


def test_particles_may_be_asked_for_in_any_order() -> None:
    index = torch.tensor([7, 3, 3, 90])
    whole = Draws.consecutive((1, 2), 0, 100)
    some = Draws((1, 2), index)
    assert torch.equal(whole.normal("x", 3)[index], some.normal("x", 3))
    assert torch.equal(whole.normal_images("x", 8)[index], some.normal_images("x", 8))


def test_seeds_and_purposes_are_independent() -> None:
    draws = Draws.consecutive((1,), 0, 20_000)
    base = draws.uniform("a", 1)[:, 0]
    others = [
        draws.uniform("b", 1)[:, 0],
        Draws.consecutive((2,), 0, 20_000).uniform("a", 1)[:, 0],
        Draws.consecutive((1, 0), 0, 20_000).uniform("a", 1)[:, 0],
        Draws.consecutive((1,), 1, 20_000).uniform("a", 1)[:, 0],
    ]
    for other in others:
        correlation = torch.corrcoef(torch.stack([base, other]))[0, 1]
        assert abs(float(correlation)) < 4 / 20_000**0.5


def test_numbers_have_their_distributions() -> None:
    draws = Draws.consecutive((3,), 0, 20_000)
    uniform = draws.uniform("u", 3)
    assert float(uniform.min()) > 0
    assert float(uniform.max()) < 1
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(draws.normal("n", 2).flatten().numpy(), "norm").pvalue > 1e-3
    images = Draws.consecutive((3,), 0, 60).normal_images("n", 32)
    assert stats.kstest(images.flatten().double().numpy(), "norm").pvalue > 1e-3
    # Neighbouring particles have neighbouring seeds of their noise, and still nothing in common.
    correlation = torch.corrcoef(images.flatten(1))
    assert float((correlation - torch.eye(60)).abs().max()) < 5 / 32
