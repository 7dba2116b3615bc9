"""Weights that change during training; a plain number is one that doesn't."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from cryo_disentangle.options.parts import part

__all__ = ["CyclicSchedule", "LinearSchedule", "Schedule", "check_weight", "weight_at"]


@part
class Schedule(Protocol):
    """A number for every training step."""

    def value(self, step: int) -> float:
        """Returns the number at a step.

        Args:
            step: Optimiser step, counted from 0.

        Returns:
            The number.
        """
        ...


@dataclass(frozen=True)
class LinearSchedule(Schedule):
    """A weight that changes linearly from one value to another and stays there.

    Args:
        first: Value up to ``first_step``.
        last: Value from ``last_step`` on.
        last_step: Optimiser step at which the last value is reached.
        first_step: Optimiser step at which the value starts to change.

    Raises:
        ValueError: If not 0 <= first_step < last_step, or a value is not finite.
    """

    first: float
    last: float
    last_step: int
    first_step: int = 0

    def __post_init__(self) -> None:
        _check_finite(self.first, self.last)
        if not 0 <= self.first_step < self.last_step:
            raise ValueError(
                "a linear schedule needs 0 <= first_step < last_step, found "
                f"first_step={self.first_step} and last_step={self.last_step}"
            )

    def value(self, step: int) -> float:
        """Evaluates the schedule.

        Args:
            step: Optimiser step, counted from 0.

        Returns:
            The weight at this step.
        """
        done = (step - self.first_step) / (self.last_step - self.first_step)
        return self.first + (self.last - self.first) * min(max(done, 0.0), 1.0)


@dataclass(frozen=True)
class CyclicSchedule(Schedule):
    """A weight that rises repeatedly, and stays at its last value after the last cycle.

    Each cycle begins at ``first``, changes linearly to ``last`` in its first part and stays there
    for the rest.

    Args:
        first: Value at which each cycle begins.
        last: Value that each cycle reaches.
        period: Optimiser steps of a cycle.
        cycles: Number of cycles.
        rising: Share of a cycle in which the value changes, in (0, 1].

    Raises:
        ValueError: If period or cycles is not positive, ``rising`` not in (0, 1], or a value not
            finite.

    References:
        Fu et al. 2019, Cyclical annealing schedule, Eqs. 6 and 7: 4 cycles, R = 0.5.
    """

    first: float
    last: float
    period: int
    cycles: int = 4
    rising: float = 0.5

    def __post_init__(self) -> None:
        _check_finite(self.first, self.last)
        if self.period < 1 or self.cycles < 1 or not 0 < self.rising <= 1:
            raise ValueError(
                "a cyclic schedule needs period >= 1, cycles >= 1 and 0 < rising <= 1, found "
                f"period={self.period}, cycles={self.cycles} and rising={self.rising}"
            )

    def value(self, step: int) -> float:
        """Evaluates the schedule.

        Args:
            step: Optimiser step, counted from 0.

        Returns:
            The weight at this step.
        """
        if step >= self.period * self.cycles:
            return self.last
        done = step % self.period / (self.period * self.rising)
        return self.first + (self.last - self.first) * min(done, 1.0)


def _check_finite(first: float, last: float) -> None:
    """Refuses a schedule whose steps would have no value."""
    if not (math.isfinite(first) and math.isfinite(last)):
        raise ValueError(
            f"a schedule runs between finite values, found first={first} and last={last}"
        )


def check_weight(weight: float) -> None:
    """Refuses what can't be the weight of a penalty.

    Args:
        weight: The weight.

    Raises:
        ValueError: If it is negative or not finite.
    """
    if not 0 <= weight < math.inf:
        raise ValueError(f"the weight of a penalty must be finite and >= 0, found {weight}")


def weight_at(weight: float | Schedule, step: int) -> float:
    """Reads a weight at a training step.

    Args:
        weight: A number for all steps, or a schedule.
        step: Step, counted from 0.

    Returns:
        The weight.

    Raises:
        ValueError: If it is negative or not finite.
    """
    value = weight if isinstance(weight, int | float) else weight.value(step)
    check_weight(value)
    return value
