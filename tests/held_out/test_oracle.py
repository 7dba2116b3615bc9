"""The bound under the true molecule."""

from __future__ import annotations

import pytest

from cryo_disentangle.held_out.oracle import true_molecule_posterior
from cryo_disentangle.metrics.functional import r2_linear
from cryo_disentangle.simulation import (
    Microscope,
    NormalFactors,
    Simulation,
    TwoArms,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws


def _simulation(noise: WhiteNoise | None) -> Simulation:
    scope = Microscope(UniformViews(), None, None, noise)
    return Simulation(TwoArms(), NormalFactors(2), scope, 10, box_size=16, pixel_size=8.5)


def test_noise_takes_away_and_nothing_else() -> None:
    draws = Draws.consecutive((0, 99), 0, 300)
    found = {}
    for snr in (100.0, 0.3, 0.03):
        means, factors = true_molecule_posterior(_simulation(WhiteNoise(snr)), draws)
        assert means.shape == factors.shape == (300, 2)
        found[snr] = float(r2_linear(means, factors))
    assert found[100.0] > 0.98
    assert found[100.0] > found[0.3] > found[0.03]


def test_an_oracle_needs_noise() -> None:
    with pytest.raises(ValueError, match="needs noise, and the simulation has none"):
        true_molecule_posterior(_simulation(None), Draws.consecutive((0, 9), 0, 5))
