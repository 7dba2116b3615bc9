"""Conformations of particles that were frozen from several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.energies import Energy, boltzmann_density, check_temperature
from cryo_disentangle.simulation.processes import Conformations, check_range
from cryo_disentangle.simulation.quantiles import tabulated_quantile

__all__ = ["BoltzmannFactors", "TemperatureNormal"]

_GRID = 8193


def _check_levels(levels_kelvin: Sequence[float]) -> None:
    """Refuses no levels, and levels at or below absolute zero."""
    if not levels_kelvin:
        raise ValueError("at least one temperature is needed, found none")
    for level in levels_kelvin:
        check_temperature(level)


def _choose_levels(draws: Draws, count: int) -> Tensor:
    """Draws one of the levels for each particle, all equally likely."""
    return (draws.uniform("temperature", 1)[:, 0] * count).long().clamp_max(count - 1)


@dataclass(frozen=True)
class TemperatureNormal:
    """Independent normal factors whose standard deviations depend on the temperature.

    Args:
        levels_kelvin: Temperatures in kelvin; each particle has one of them at random.
        scales: Standard deviation of each factor (inner) at each temperature (outer).
        mean: Mean of every factor.

    Raises:
        ValueError: If a temperature or a standard deviation is not positive, or ``scales`` does not
            have a row of K numbers for each temperature.
    """

    levels_kelvin: Sequence[float]
    scales: Sequence[Sequence[float]]
    mean: float = 0.0

    def __post_init__(self) -> None:
        _check_levels(self.levels_kelvin)
        lengths = {len(row) for row in self.scales}
        if len(self.scales) != len(self.levels_kelvin) or len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                f"scales: a row for each of {len(self.levels_kelvin)} temperatures, all of one "
                f"length, expected, found {len(self.scales)} rows of lengths {sorted(lengths)}"
            )
        smallest = min(min(row) for row in self.scales)
        if not smallest > 0:
            raise ValueError(f"scales must be positive, found {smallest}")

    @property
    def dim(self) -> int:
        """Number of factors K."""
        return len(self.scales[0])

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K) and temperatures."""
        level = _choose_levels(draws, len(self.levels_kelvin))
        scales = torch.tensor(self.scales, dtype=torch.float64)[level]
        temperature = torch.tensor(self.levels_kelvin, dtype=torch.float64)[level]
        factors = self.mean + scales * draws.normal("factors", self.dim)
        return Conformations(factors, temperature=temperature)


@dataclass(frozen=True)
class BoltzmannFactors:
    """Independent factors, each Boltzmann-distributed in its energy at the particle's temperature.

    Samples are quantiles of the exact distribution, which is tabulated at 8,193 points of the
    range.

    Args:
        levels_kelvin: Temperatures in kelvin; each particle has one of them at random.
        energies: Energy of each factor.
        low: Smallest value of every factor.
        high: Largest value of every factor.

    Raises:
        ValueError: If a temperature is not positive, there is no energy, or the range is empty.
    """

    levels_kelvin: Sequence[float]
    energies: Sequence[Energy]
    low: float = -1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        _check_levels(self.levels_kelvin)
        check_range(self.low, self.high)
        if not self.energies:
            raise ValueError("at least one energy is needed, found none")

    @property
    def dim(self) -> int:
        """Number of factors K."""
        return len(self.energies)

    def sample(self, draws: Draws) -> Conformations:
        """Draws factors (B, K) and temperatures."""
        level = _choose_levels(draws, len(self.levels_kelvin))
        uniform = draws.uniform("factors", self.dim)
        grid = torch.linspace(self.low, self.high, _GRID, dtype=torch.float64)
        factors = torch.empty_like(uniform)
        for number, kelvin in enumerate(self.levels_kelvin):
            here = level == number
            for k, energy in enumerate(self.energies):
                density = boltzmann_density(energy, kelvin, grid)
                factors[here, k] = tabulated_quantile(grid, density, uniform[here, k])
        temperature = torch.tensor(self.levels_kelvin, dtype=torch.float64)[level]
        return Conformations(factors, temperature=temperature)
