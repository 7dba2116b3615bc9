from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from cryo_disentangle.simulation import (
    BoltzmannFactors,
    DoubleWell,
    FrozenBelow,
    Harmonic,
    TemperatureNormal,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.energies import Energy, boltzmann_density

DRAWS = Draws.consecutive((7,), 0, 40_000)


def test_normal_factors_have_the_scale_of_their_temperature() -> None:
    process = TemperatureNormal([100.0, 300.0], [[0.1, 0.3], [0.5, 0.2]], mean=0.2)
    sample = process.sample(DRAWS)
    assert process.dim == 2
    assert sample.temperature is not None
    assert float((sample.temperature == 100).double().mean()) == pytest.approx(0.5, abs=0.01)
    for kelvin, scales in ((100.0, (0.1, 0.3)), (300.0, (0.5, 0.2))):
        here = sample.factors[sample.temperature == kelvin]
        for column, scale in zip(here.T, scales, strict=True):
            assert stats.kstest(column.numpy(), stats.norm(0.2, scale).cdf).pvalue > 1e-3


def test_samples_are_boltzmann_distributed() -> None:
    energies: list[Energy] = [
        Harmonic(25.0),
        DoubleWell(6.0, 0.6, tilt=2.0),
        FrozenBelow(DoubleWell(4.0), 180.0, frozen_at=0.6),
    ]
    levels = [120.0, 240.0, 360.0]
    sample = BoltzmannFactors(levels, energies).sample(DRAWS)
    assert sample.temperature is not None
    grid = torch.linspace(-1, 1, 8001, dtype=torch.float64)
    for kelvin in levels:
        here = sample.factors[sample.temperature == kelvin]
        for k, energy in enumerate(energies):
            density = boltzmann_density(energy, kelvin, grid)
            cumulative = torch.cumulative_trapezoid(density, grid)
            cdf = np.interp(
                here[:, k].numpy(), grid.numpy(), np.concatenate([[0], cumulative.numpy()])
            )
            assert stats.kstest(cdf, "uniform").pvalue > 1e-3, (kelvin, energy)


def test_samples_do_not_depend_on_the_piece() -> None:
    process = BoltzmannFactors([100.0, 300.0], [Harmonic(20.0), DoubleWell(5.0)])
    whole = process.sample(Draws.consecutive((7,), 0, 100))
    piece = process.sample(Draws.consecutive((7,), 40, 10))
    torch.testing.assert_close(piece.factors, whole.factors[40:50])


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="temperatures must be positive, in kelvin, found -5"):
        BoltzmannFactors([-5.0], [Harmonic(1.0)])
    with pytest.raises(ValueError, match="temperatures must be positive, in kelvin, found 0"):
        TemperatureNormal([0.0], [[1.0]])
    with pytest.raises(ValueError, match="at least one temperature is needed"):
        TemperatureNormal([], [])
    with pytest.raises(ValueError, match="at least one energy is needed"):
        BoltzmannFactors([100.0], [])
    with pytest.raises(ValueError, match=r"found 1 rows of lengths \[2\]"):
        TemperatureNormal([100.0, 200.0], [[1.0, 2.0]])
    with pytest.raises(ValueError, match="scales must be positive, found 0"):
        TemperatureNormal([100.0], [[0.0]])
