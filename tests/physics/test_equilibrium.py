"""The shipped trajectories are at equilibrium; the estimators are right where truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from cryo_disentangle.physics.equilibrium import (
    block_means,
    core_states,
    reweighting,
    transition_counts,
)
from cryo_disentangle.physics.trajectories import hinges_of, open_trajectories
from cryo_disentangle.simulation.energies import GAS_CONSTANT

BLOCKS = 20
BORDERS = ((50.0, 65.0), (112.0, 130.0))


def test_reweighted_harmonic_energies_have_the_heat_capacity_of_their_modes() -> None:
    kelvin, modes = np.array([270.0, 300.0, 330.0]), 40
    generator = np.random.default_rng(0)
    energy = generator.gamma(modes / 2, GAS_CONSTANT * kelvin[:, None], (3, 20_000))
    weights = reweighting(energy, kelvin, 315.0)
    assert weights.sum() == pytest.approx(1)
    assert (weights * energy).sum() == pytest.approx(modes / 2 * GAS_CONSTANT * 315, rel=0.005)


def test_crossings_count_once_the_other_core_is_reached() -> None:
    path = np.array([1.5, 0.5, 1.4, 1.6, 0.2, 1.5, 2.5, 1.5, 1.1, 2.1, 0.4])
    states = core_states(path, 1.0, 2.0)
    assert states.tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 0]
    np.testing.assert_array_equal(transition_counts(states, 2), [[5, 1], [1, 3]])
    with pytest.raises(ValueError, match="found none"):
        core_states(np.full(3, 1.5), 1.0, 2.0)


@pytest.mark.parametrize("left_out", range(5))
def test_each_temperature_is_predicted_by_the_others(left_out: int) -> None:
    found = open_trajectories()
    others = np.arange(5) != left_out
    weights = reweighting(found.potential[others], found.kelvin[others], found.kelvin[left_out])
    even = np.full((1, found.potential.shape[1]), 1 / found.potential.shape[1])
    angles = hinges_of()
    quantities = [found.potential - found.potential.mean()]
    quantities += [angles[:, :, k] < sum(BORDERS[k]) / 2 for k in range(2)]
    for quantity in quantities:
        here = block_means(quantity[[left_out]], even, BLOCKS)
        predicted = block_means(quantity[others], weights, BLOCKS)
        error = np.hypot(here.std(), predicted.std())
        assert abs(here.mean() - predicted.mean()) < 3 * error


def test_energies_fluctuate_as_the_heat_capacity_asks() -> None:
    # d<U>/dT = var(U) / RT²: a thermostat of a wrong temperature would break it.
    found = open_trajectories()
    slope = (found.potential[4].mean() - found.potential[0].mean()) / 60.0
    expected = found.potential.var(1).mean() / (GAS_CONSTANT * 300.0**2)
    assert slope == pytest.approx(expected, rel=0.05)


def test_changes_between_four_states_happen_as_often_either_way() -> None:
    excess = []
    for angles in hinges_of():
        states = [core_states(angles[:, k], *BORDERS[k]) for k in range(2)]
        counts = transition_counts(2 * states[0] + states[1], 4)
        there, back = counts[np.triu_indices(4, 1)], counts.T[np.triu_indices(4, 1)]
        total = there + back
        excess += (np.square(there - back)[total > 0] / total[total > 0]).tolist()
        closings = [np.abs(np.diff(state)).sum() for state in states]
        assert min(closings) >= 10
        assert closings[1] > closings[0]
    # χ² of one degree of freedom each.
    assert max(excess) < 12
    assert np.mean(excess) < 2.5
