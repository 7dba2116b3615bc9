"""Checks that trajectories are at equilibrium: reweighting between temperatures, reversibility."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from cryo_disentangle.simulation.energies import GAS_CONSTANT

__all__ = ["block_means", "core_states", "reweighting", "transition_counts"]

Array = npt.NDArray[np.floating]
_ITERATIONS, _TOLERANCE = 500, 1e-7


def reweighting(potential: Array, kelvin: Array, target_kelvin: float) -> Array:
    """Weighs frames of several temperatures so that they are of another one.

    Args:
        potential: Energies in kJ/mol, a run for each temperature, shape (T, N).
        kelvin: Temperatures, shape (T,).
        target_kelvin: The temperature that averages are wanted at.

    Returns:
        Weights that sum to one, shape (T, N).

    References:
        Shirts and Chodera 2008, J. Chem. Phys. 129:124105, Eqs. 11 and 13 (MBAR).
    """
    energies = potential.astype(np.float64) - potential.mean()
    beta = 1 / (GAS_CONSTANT * np.asarray(kelvin, dtype=np.float64))
    reduced = beta[:, None, None] * energies
    free = np.zeros(len(beta))
    for _ in range(_ITERATIONS):
        mixture = logsumexp(free[:, None, None] - reduced, axis=0)
        found = -logsumexp(-reduced - mixture, axis=(1, 2))
        found -= found[0]
        change = np.abs(found - free).max()
        free = found
        if change < _TOLERANCE:
            break
    log = -energies / (GAS_CONSTANT * target_kelvin)
    log -= logsumexp(free[:, None, None] - reduced, axis=0)
    weights: Array = np.exp(log - logsumexp(log))
    return weights


def block_means(values: Array, weights: Array, blocks: int, seed: int = 0) -> Array:
    """Resamples blocks of each run, whose frames are not independent, and averages again.

    Args:
        values: Of each frame, shape (T, N).
        weights: As `reweighting` makes them, shape (T, N).
        blocks: Blocks of a run; they must be longer than the runs' memory.
        seed: Of the resampling.

    Returns:
        Weighted means of 400 resamples, shape (400,).
    """
    generator = np.random.default_rng(seed)
    length = values.shape[1] // blocks
    shape = (len(values), blocks, length)
    kept = weights[:, : blocks * length].reshape(shape)
    total = (kept * values[:, : blocks * length].reshape(shape)).sum(2)
    mass = kept.sum(2)
    rows = generator.integers(blocks, size=(400, *mass.shape))
    runs = np.arange(len(values))[:, None]
    found: Array = total[runs, rows].sum((1, 2)) / mass[runs, rows].sum((1, 2))
    return found


def core_states(coordinate: Array, low: float, high: float) -> npt.NDArray[np.int64]:
    """Assigns frames to two states by the core that was visited last.

    A crossing counts once the other core is reached: what only touches the border is none.

    Args:
        coordinate: In the order of time, shape (N,).
        low: Values below are in the core of state 0.
        high: Values above are in the core of state 1.

    Returns:
        0 or 1, shape (N,); frames before the first core take its state.

    Raises:
        ValueError: If neither core is visited.
    """
    inside = np.where(coordinate < low, 0, np.where(coordinate > high, 1, -1))
    known = np.flatnonzero(inside >= 0)
    if not len(known):
        raise ValueError(f"a coordinate below {low:g} or above {high:g} expected, found none")
    last = np.searchsorted(known, np.arange(len(inside)), side="right") - 1
    found: npt.NDArray[np.int64] = inside[known[last.clip(0)]]
    return found


def transition_counts(states: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Counts changes between states.

    Args:
        states: Of consecutive frames, shape (N,).
        count: Number of states S.

    Returns:
        How often a frame of state i was followed by one of state j, shape (S, S).
    """
    found = np.zeros((count, count), np.int64)
    np.add.at(found, (states[:-1], states[1:]), 1)
    return found
