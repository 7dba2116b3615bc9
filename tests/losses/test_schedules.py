"""Weights that change during training."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.losses import CyclicSchedule, LinearSchedule
from cryo_disentangle.losses.schedules import weight_at

_weights = st.floats(-100, 100)
_steps = st.integers(0, 10_000)


@settings(max_examples=25)
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


@settings(max_examples=25)
@given(st.integers(0, 100), st.integers(1, 100))
def test_every_step_changes_it_by_as_much(start: int, length: int) -> None:
    schedule = LinearSchedule(0.0, 1.0, start + length, start)
    values = [schedule.value(start + k) for k in range(length + 1)]
    assert values == pytest.approx([k / length for k in range(length + 1)])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_are_finite(value: float) -> None:
    with pytest.raises(ValueError, match=r"a schedule runs between finite values, found first="):
        LinearSchedule(value, 1.0, last_step=4)
    with pytest.raises(ValueError, match=r"a schedule runs between finite values, .*last="):
        CyclicSchedule(0.0, value, period=4)


def test_starts_at_step_zero_unless_told() -> None:
    schedule = LinearSchedule(1.0, 3.0, last_step=4)
    assert [schedule.value(step) for step in range(6)] == [1.0, 1.5, 2.0, 2.5, 3.0, 3.0]


@pytest.mark.parametrize(("first_step", "last_step"), [(5, 5), (6, 5), (-1, 5), (0, 0)])
def test_steps_out_of_order_are_refused(first_step: int, last_step: int) -> None:
    with pytest.raises(ValueError, match=f"first_step={first_step} and last_step={last_step}"):
        LinearSchedule(0.0, 1.0, last_step, first_step)


@settings(max_examples=25)
@given(st.integers(1, 200), st.integers(1, 5), st.floats(0.1, 1), st.integers(0, 2000))
def test_cycles_repeat_and_end_at_the_last_value(
    period: int, cycles: int, rising: float, step: int
) -> None:
    schedule = CyclicSchedule(0.2, 1.0, period, cycles, rising)
    value = schedule.value(step)
    assert 0.2 <= value <= 1.0
    if step >= period * cycles:
        assert value == 1.0
    else:
        assert value == schedule.value(step % period)


def test_a_cycle_rises_and_then_stays() -> None:
    schedule = CyclicSchedule(0.0, 2.0, period=8, cycles=2)
    cycle = [0.0, 0.5, 1.0, 1.5, 2.0, 2.0, 2.0, 2.0]
    assert [schedule.value(step) for step in range(18)] == cycle + cycle + [2.0, 2.0]


@pytest.mark.parametrize(("period", "cycles", "rising"), [(0, 4, 0.5), (8, 0, 0.5), (8, 4, 0.0)])
def test_cycles_that_are_none_are_refused(period: int, cycles: int, rising: float) -> None:
    with pytest.raises(ValueError, match=f"period={period}, cycles={cycles} and rising={rising}"):
        CyclicSchedule(0.0, 1.0, period, cycles, rising)


def test_weights_are_numbers_or_schedules() -> None:
    assert weight_at(0.3, 7) == 0.3
    assert weight_at(LinearSchedule(0.0, 1.0, 10), 5) == 0.5


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_a_weight_below_zero_or_not_finite_is_refused(weight: float) -> None:
    class Given:
        def value(self, step: int) -> float:  # noqa: ARG002
            return weight

    for given_weight in (weight, Given()):
        with pytest.raises(ValueError, match="weight of a penalty must be finite and >= 0, found"):
            weight_at(given_weight, 0)
