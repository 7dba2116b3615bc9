"""Weights that change during training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["LinearSchedule", "Schedule"]


class Schedule(Protocol):
    """A number for every training step."""

    def value(self, step: int) -> float:
        """The number at an optimiser step, counted from 0."""
        ...


@dataclass(frozen=True)
class LinearSchedule:
    """A weight that runs in a straight line from one value to another and stays there.

    Args:
        first: Value up to ``first_step``.
        last: Value from ``last_step`` on.
        last_step: Optimiser step at which the last value is reached.
        first_step: Optimiser step at which the value starts to change.

    Raises:
        ValueError: If not 0 <= first_step < last_step.
    """

    first: float
    last: float
    last_step: int
    first_step: int = 0

    def __post_init__(self) -> None:
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
