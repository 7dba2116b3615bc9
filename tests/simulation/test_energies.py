from __future__ import annotations

import math

import pytest
import torch
from scipy import integrate, special

from cryo_disentangle.simulation import DoubleWell, FrozenBelow, Harmonic
from cryo_disentangle.simulation.energies import (
    GAS_CONSTANT,
    boltzmann_density,
    partition_function,
)

GRID = torch.linspace(-6, 6, 20_001, dtype=torch.float64)


@pytest.mark.parametrize("kelvin", [20.0, 100.0, 300.0])
@pytest.mark.parametrize("stiffness", [3.0, 40.0])
def test_harmonic_partition_function_is_gaussian(stiffness: float, kelvin: float) -> None:
    expected = math.sqrt(2 * math.pi * GAS_CONSTANT * kelvin / stiffness)
    found = partition_function(Harmonic(stiffness, 0.3), kelvin, GRID)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kelvin", [100.0, 300.0])
def test_symmetric_double_well_has_its_closed_form(kelvin: float) -> None:
    barrier, position = 5.0, 0.6
    a = barrier / (GAS_CONSTANT * kelvin)
    # Gradshteyn and Ryzhik 3.323.3 generalised: ∫ exp(-a (u² - 1)²) du by Bessel functions.
    half = a / 2
    bessel = float(special.iv(-0.25, half) + special.iv(0.25, half))
    expected = position * math.exp(-half) * math.pi / 2 * bessel
    found = partition_function(DoubleWell(barrier, position), kelvin, GRID)
    numerical, _ = integrate.quad(
        lambda z: math.exp(-a * ((z / position) ** 2 - 1) ** 2), -3, 3, points=[-0.6, 0.6]
    )
    assert found == pytest.approx(numerical, rel=1e-7)
    assert found == pytest.approx(expected, rel=1e-7)


def test_density_integrates_to_one_and_has_the_right_ratio() -> None:
    energy = DoubleWell(8.0, 0.6, tilt=3.0)
    density = boltzmann_density(energy, 250.0, GRID)
    assert float(torch.trapezoid(density, GRID)) == pytest.approx(1, abs=1e-12)
    wells = torch.tensor([-0.6, 0.6], dtype=torch.float64)
    left, right = energy.energy(wells, 250.0).tolist()
    assert right - left == pytest.approx(3.0)
    nearest = (GRID[:, None] - wells).abs().argmin(0)
    ratio = density[nearest[1]] / density[nearest[0]]
    assert float(ratio) == pytest.approx(math.exp(-3.0 / (GAS_CONSTANT * 250)), rel=1e-3)


def test_a_frozen_factor_has_one_width_below_its_threshold() -> None:
    energy = FrozenBelow(Harmonic(10.0), 200.0, frozen_at=0.5, frozen_width=0.05)
    for kelvin in (20.0, 199.0):
        density = boltzmann_density(energy, kelvin, GRID)
        mean = torch.trapezoid(density * GRID, GRID)
        variance = torch.trapezoid(density * (GRID - mean) ** 2, GRID)
        assert float(mean) == pytest.approx(0.5, abs=1e-9)
        assert float(variance) == pytest.approx(0.05**2, rel=1e-6)
    thawed = boltzmann_density(energy, 200.0, GRID)
    torch.testing.assert_close(thawed, boltzmann_density(Harmonic(10.0), 200.0, GRID))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="stiffness must be positive, found -1"):
        Harmonic(-1)
    with pytest.raises(ValueError, match="barrier and position must be positive"):
        DoubleWell(0)
    with pytest.raises(ValueError, match="threshold_kelvin and frozen_width must be positive"):
        FrozenBelow(Harmonic(1), 0)
    with pytest.raises(ValueError, match="temperatures must be positive, in kelvin, found 0"):
        partition_function(Harmonic(1), 0, GRID)
    with pytest.raises(ValueError, match="temperatures must be positive, in kelvin, found -3"):
        boltzmann_density(Harmonic(1), -3, GRID)
