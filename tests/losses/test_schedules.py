"""Weights that change during training."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.losses import LinearSchedule

_weights = st.floats(-100, 100)
_steps = st.integers(0, 10_000)


@settings(max_examples=25, deadline=None)
@given(_weights, _weights, _steps, st.integers(1, 10_000), _steps)
def test_runs_from_one_value_to_the_other_and_stays(
    first: float, last: float, start: int, length: int, step: int
) -> None:
    schedule = LinearSchedule(first, last, start + length, start)
    value = schedule.value(step)
    assert min(first, last) - 1e-9 <= value <= max(first, last) + 1e-9
    if step <= start:
        assert value == first
    if step >= start + length:
        assert value == pytest.approx(last)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 100), st.integers(1, 100))
def test_every_step_changes_it_by_as_much(start: int, length: int) -> None:
    schedule = LinearSchedule(0.0, 1.0, start + length, start)
    values = [schedule.value(start + k) for k in range(length + 1)]
    assert values == pytest.approx([k / length for k in range(length + 1)])


def test_starts_at_step_zero_unless_told() -> None:
    schedule = LinearSchedule(1.0, 3.0, last_step=4)
    assert [schedule.value(step) for step in range(6)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]


@pytest.mark.parametrize(("first_step", "last_step"), [(5, 5), (6, 5), (-1, 5), (0, 0)])
def test_steps_out_of_order_are_refused(first_step: int, last_step: int) -> None:
    with pytest.raises(ValueError, match=f"first_step={first_step} and last_step={last_step}"):
        LinearSchedule(0.0, 1.0, last_step, first_step)
