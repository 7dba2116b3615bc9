"""Energies of single factors, and the Boltzmann distributions that they have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from cryo_disentangle.priors._temperature import GAS_CONSTANT

__all__ = [
    "GAS_CONSTANT",
    "DoubleWell",
    "Energy",
    "FrozenBelow",
    "Harmonic",
    "boltzmann_density",
    "partition_function",
]


class Energy(Protocol):
    """Energy of one factor."""

    def energy(self, factor: Tensor, temperature_kelvin: float) -> Tensor:
        """Evaluates the energy.

        Args:
            factor: Values of the factor, any shape (...).
            temperature_kelvin: Temperature in kelvin.

        Returns:
            Energy in kJ/mol, shape (...).
        """
        ...


@dataclass(frozen=True)
class Harmonic:
    """E(z) = stiffness (z - centre)² / 2, a normal distribution of variance RT / stiffness.

    Args:
        stiffness: In kJ/mol per squared unit of the factor, positive.
        centre: Where the energy is least.

    Raises:
        ValueError: If the stiffness is not positive.
    """

    stiffness: float
    centre: float = 0.0

    def __post_init__(self) -> None:
        if not self.stiffness > 0:
            raise ValueError(f"stiffness must be positive, found {self.stiffness}")

    def energy(self, factor: Tensor, temperature_kelvin: float) -> Tensor:  # noqa: ARG002
        """Evaluates the energy in kJ/mol."""
        return 0.5 * self.stiffness * (factor - self.centre).square()


@dataclass(frozen=True)
class DoubleWell:
    """Two wells: E(z) = barrier ((z / position)² - 1)² + tilt z / (2 position).

    Args:
        barrier: Height of the barrier in kJ/mol over untilted wells, positive.
        position: Wells are at plus and minus this.
        tilt: Energy of the right well over the left in kJ/mol, about.

    Raises:
        ValueError: If the barrier or the position is not positive.
    """

    barrier: float
    position: float = 0.6
    tilt: float = 0.0

    def __post_init__(self) -> None:
        if not (self.barrier > 0 and self.position > 0):
            raise ValueError(
                f"barrier and position must be positive, found {self.barrier} and {self.position}"
            )

    def energy(self, factor: Tensor, temperature_kelvin: float) -> Tensor:  # noqa: ARG002
        """Evaluates the energy in kJ/mol."""
        reduced = factor / self.position
        return self.barrier * (reduced.square() - 1).square() + 0.5 * self.tilt * reduced


@dataclass(frozen=True)
class FrozenBelow:
    """A factor that moves freely above a temperature and is frozen below it.

    Below the threshold the energy is harmonic, as stiff as makes the standard deviation
    ``frozen_width`` at any temperature.

    Args:
        thawed: Energy at and above the threshold.
        threshold_kelvin: Temperature in kelvin.
        frozen_at: Where the factor stays.
        frozen_width: Its standard deviation there.

    Raises:
        ValueError: If the threshold or the width is not positive.
    """

    thawed: Energy
    threshold_kelvin: float
    frozen_at: float = 0.0
    frozen_width: float = 0.02

    def __post_init__(self) -> None:
        if not (self.threshold_kelvin > 0 and self.frozen_width > 0):
            raise ValueError(
                "threshold_kelvin and frozen_width must be positive, found "
                f"{self.threshold_kelvin} and {self.frozen_width}"
            )

    def energy(self, factor: Tensor, temperature_kelvin: float) -> Tensor:
        """Evaluates the energy in kJ/mol."""
        if temperature_kelvin >= self.threshold_kelvin:
            return self.thawed.energy(factor, temperature_kelvin)
        reduced = (factor - self.frozen_at) / self.frozen_width
        return 0.5 * GAS_CONSTANT * temperature_kelvin * reduced.square()


def check_temperature(temperature_kelvin: float) -> None:
    """Refuses temperatures at or below absolute zero.

    Args:
        temperature_kelvin: Temperature in kelvin.

    Raises:
        ValueError: If it is not positive.
    """
    if not (temperature_kelvin > 0 and math.isfinite(temperature_kelvin)):
        raise ValueError(f"temperatures must be positive, in kelvin, found {temperature_kelvin}")


def _log_weights(energy: Energy, temperature_kelvin: float, grid: Tensor) -> Tensor:
    """-E / RT on a grid."""
    check_temperature(temperature_kelvin)
    return -energy.energy(grid, temperature_kelvin) / (GAS_CONSTANT * temperature_kelvin)


def partition_function(energy: Energy, temperature_kelvin: float, grid: Tensor) -> float:
    """Integrates exp(-E(z) / RT) by the trapezoidal rule.

    Args:
        energy: Energy of the factor.
        temperature_kelvin: Temperature in kelvin.
        grid: Increasing values of the factor over its whole range, shape (G,), float64.

    Returns:
        The partition function, in units of the factor.

    Raises:
        ValueError: If the temperature is not positive.
    """
    weights = _log_weights(energy, temperature_kelvin, grid)
    largest = weights.max()
    return math.exp(float(largest)) * float(torch.trapezoid((weights - largest).exp(), grid))


def boltzmann_density(energy: Energy, temperature_kelvin: float, grid: Tensor) -> Tensor:
    """Evaluates the Boltzmann distribution exp(-E(z) / RT) / Z.

    Args:
        energy: Energy of the factor.
        temperature_kelvin: Temperature in kelvin.
        grid: As in `partition_function`.

    Returns:
        Density on the grid, shape (G,), whose trapezoidal integral is one.

    Raises:
        ValueError: If the temperature is not positive.
    """
    weights = _log_weights(energy, temperature_kelvin, grid)
    density = (weights - weights.max()).exp()
    return density / torch.trapezoid(density, grid)
