"""Randomness of penalties: seed, process and step decide, nothing else."""

from __future__ import annotations

import io

import pytest
import torch

from cryo_disentangle.losses.draws import StepDraws


def drawn(draws: StepDraws, count: int = 4) -> list[float]:
    return torch.rand(count, generator=draws.generator("cpu")).tolist()


def series(draws: StepDraws, steps: int) -> list[list[float]]:
    found = []
    for _ in range(steps):
        found.append(drawn(draws))
        draws.advance()
    return found


def test_every_step_and_seed_draws_anew_and_the_same_again() -> None:
    first = series(StepDraws(1), 5)
    assert first == series(StepDraws(1), 5)
    assert len({tuple(row) for row in first + series(StepDraws(2), 5)}) == 10
    draws = StepDraws(1)
    assert drawn(draws) == drawn(draws)


def test_a_resumed_count_goes_on_as_if_never_stopped() -> None:
    whole = series(StepDraws(7), 6)
    draws = StepDraws(7)
    series(draws, 4)
    file = io.BytesIO()
    torch.save(draws.state_dict(), file)
    file.seek(0)
    resumed = StepDraws(7)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.step == 4
    assert series(resumed, 2) == whole[4:]


def test_processes_draw_differently(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = drawn(StepDraws())
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    by_rank = []
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        by_rank.append(drawn(StepDraws()))
    assert by_rank[0] == alone
    assert len({tuple(row) for row in by_rank}) == 3


def test_held_out_passes_draw_the_same_and_do_not_count() -> None:
    draws = StepDraws()
    training = drawn(draws)
    draws.advance()
    passes = []
    for _ in range(2):
        draws.eval()
        passes.append(series(draws, 3))
        draws.train()
        assert draws.step == len(passes)
        draws.advance()
    assert passes[0] == passes[1]
    assert len({tuple(row) for row in [*passes[0], training]}) == 4


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    series(StepDraws(), 2)
    assert torch.equal(torch.get_rng_state(), before)
