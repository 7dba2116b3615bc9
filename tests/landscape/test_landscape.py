"""Densities behind uncertain latents: what is put in comes out, and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.evaluation.axes_command import axes_command
from cryo_disentangle.landscape.basins import find_basins
from cryo_disentangle.landscape.density import fit_density
from cryo_disentangle.landscape.landscape import LatentNoise, Profile, find_landscape
from cryo_disentangle.landscape.likelihood import latent_likelihood, log_overlap
from cryo_disentangle.landscape.picture import draw_landscape

SMALLER = 0.3


def two_states(seed: int, count: int = 1000) -> np.ndarray:
    g = np.random.default_rng(seed)
    centre = np.where(g.random(count) < SMALLER, -1.5, 1.2)
    return np.asarray(centre + 0.4 * g.normal(size=count))


def one_state(seed: int, count: int = 1000) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def with_errors(z: np.ndarray, seed: int, noise: float = 0.5) -> tuple[np.ndarray, LatentNoise]:
    """Estimates, each with errors of its own width."""
    g = np.random.default_rng(1000 + seed)
    width = noise * np.exp(0.4 * g.normal(size=len(z)))
    seen = z + width * g.normal(size=len(z))
    return seen[:, None], LatentNoise(np.square(width)[:, None, None], None)


def profile(z: np.ndarray, seed: int, noise: float = 0.5) -> Profile:
    latents, errors = with_errors(z, seed, noise)
    return find_landscape(latents, errors, seed=seed).profiles[0]


def test_populations_lie_within_their_intervals() -> None:
    """Of 95 % intervals 19 of 20 do in the long run; of 6 draws at most one may not."""
    inside, widths = 0, []
    for seed in range(6):
        found = profile(two_states(seed), seed).basins
        assert found is not None
        small, _ = found.basins
        inside += small.low <= SMALLER <= small.high
        widths.append(small.high - small.low)
        assert small.low <= small.population <= small.high
    assert inside >= 5
    # Sampling alone makes them as wide as 4 √(0.3 · 0.7 / 1000) = 0.058.
    assert 0.045 < np.mean(widths) < 0.12


def test_noise_makes_no_second_peak() -> None:
    for seed in range(3):
        # Sharp edges are the hardest: a density of bells has horns there.
        flat = np.random.default_rng(seed).uniform(-1, 1, size=1000)
        for z in (one_state(seed), flat):
            assert profile(z, seed, 0.3).words.startswith("axis 1: one basin, deepest at ")


def test_what_noise_has_joined_is_told_apart() -> None:
    z = two_states(3, 1500)
    latents, errors = with_errors(z, 3, 0.9)
    as_they_are = find_landscape(latents).profiles[0]
    behind = find_landscape(latents, errors).profiles[0]
    grid = behind.grid[0]
    saddle = int(np.abs(grid + 0.2).argmin())
    deeper = int(np.abs(grid - 1.2).argmin())
    barrier = behind.free_energy[saddle] - behind.free_energy[deeper]
    raw = np.interp(-0.2, as_they_are.grid[0], as_they_are.density)
    assert barrier > np.log(as_they_are.density.max() / raw) + 0.8
    assert not as_they_are.deconvolved
    assert behind.deconvolved
    assert "so their errors blur it" in find_landscape(latents).words


def test_posteriors_give_what_estimates_give() -> None:
    """A posterior under a standard normal prior, divided by it, is the estimate's likelihood."""
    latents, errors = with_errors(two_states(0) / 1.5, 0, 0.4)
    variance = errors.covariance[:, 0, 0]
    shrunk = 1 / (1 + 1 / variance)
    prior = (np.zeros(1), np.eye(1))
    estimates = latent_likelihood(latents, errors.covariance)
    posteriors = latent_likelihood(
        latents * (shrunk / variance)[:, None], shrunk[:, None, None], prior
    )
    nodes, width = np.linspace(-2, 2, 9)[:, None], np.array([0.3])
    one, other = (log_overlap(each, nodes, width) for each in (estimates, posteriors))
    np.testing.assert_allclose(one - one[:, :1], other - other[:, :1], atol=1e-6)


@settings(deadline=None, max_examples=3)
@given(st.floats(0.1, 10), st.floats(-5, 5))
def test_free_energy_follows_the_units(scale: float, shift: float) -> None:
    latents, errors = with_errors(two_states(1, 120), 1)
    plain = find_landscape(latents, errors).profiles[0]
    scaled = LatentNoise(errors.covariance * scale**2, None)
    other = find_landscape(latents * scale + shift, scaled).profiles[0]
    np.testing.assert_allclose(other.grid[0], plain.grid[0] * scale + shift, atol=1e-5 * scale)
    np.testing.assert_allclose(other.free_energy, plain.free_energy, atol=0.02)


def test_density_is_one_and_its_band_holds_it() -> None:
    found = profile(two_states(2), 2)
    assert np.trapezoid(found.density, found.grid[0]) == pytest.approx(1, abs=0.01)
    seen = np.isfinite(found.free_energy)
    assert np.nanmin(found.free_energy) == 0
    held = (found.low <= found.free_energy + 1e-6) & (found.free_energy <= found.high + 1e-6)
    assert held[seen].mean() > 0.9


def test_basins_of_a_known_density() -> None:
    x = np.linspace(-3, 3, 61)
    density = 0.4 * np.exp(-8 * (x + 1.5) ** 2) + 0.6 * np.exp(-8 * (x - 1.5) ** 2)
    noise = 1 + 0.02 * np.random.default_rng(0).normal(size=(50, 61))
    found = find_basins(density, density * noise, [30])
    assert [round(basin.population, 2) for basin in found.basins] == [0.4, 0.6]
    assert [round(float(x[basin.cell]), 1) for basin in found.basins] == [-1.5, 1.5]
    assert found.barriers[0].cell == 30
    assert found.barriers[0].height == pytest.approx(np.log(0.4 / density[30]))
    assert [len(part) for part in find_basins(density, density * noise, [])] == [1, 0]


def test_three_states_are_three_basins() -> None:
    g = np.random.default_rng(0)
    latents, errors = with_errors(
        np.repeat([-2.0, 0.0, 2.0], 200) + 0.3 * g.normal(size=600), 0, 0.4
    )
    found = find_landscape(latents, errors).profiles[0]
    assert found.basins is not None
    assert [round(basin.population, 1) for basin in found.basins.basins] == [0.3, 0.3, 0.3]
    assert ": 3 basins, population 3" in found.words


def test_a_landscape_says_its_temperature_and_keeps_its_arrays() -> None:
    z = np.stack([two_states(0, 400), one_state(1, 400)], axis=1)
    errors = LatentNoise(np.full((400, 2, 2), 0.05) * np.eye(2), None)
    found = find_landscape(z, errors, 300.0)
    assert "Landscape of 400 particles at 300 K (the particles' uncertainty removed" in found.words
    assert "population" in found.words
    assert found.unit == "kT at 300 K"
    assert find_landscape(z[:, :1]).unit == "kT of the ensemble imaged"
    arrays = found.arrays()
    assert arrays["axis1_population"].shape == (2, 3)
    assert arrays["plane_free_energy"].shape == (60, 60)
    assert arrays["axis1_barrier"].shape == (1,)
    assert "plane_population" not in arrays
    assert len(draw_landscape(found, z).axes) >= 3


def test_the_command_finds_a_landscape_at_each_temperature(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    g = np.random.default_rng(0)
    kelvin = np.repeat([100.0, 300.0], 200)
    z = g.normal(size=(400, 2)) * np.stack([kelvin / 300, np.ones(400)], axis=1)
    np.savez(tmp_path / "z.npz", latents=z, row=np.arange(400))
    np.savez(tmp_path / "labels.npz", temperature=kelvin)
    out = tmp_path / "out"
    words = [str(tmp_path / "z.npz"), "--labels", str(tmp_path / "labels.npz"), "--out", str(out)]
    axes_command(words)
    assert "Landscape of 200 particles at 100 K" in capsys.readouterr().out
    widths = []
    for level in ("100K", "300K"):
        with np.load(out / f"landscape_{level}.npz") as found:
            grid, density = found["axis1_value"], found["axis1_density"]
            mean = np.average(grid, weights=density)
            widths.append(np.average((grid - mean) ** 2, weights=density) ** 0.5)
    assert widths[1] > 1.8 * widths[0]
    with pytest.raises(ValueError, match="labels have temperatures, so --kelvin is not needed"):
        axes_command([*words, "--kelvin", "300"])


def test_what_cannot_be_is_refused() -> None:
    latents, errors = with_errors(one_state(0), 0)
    with pytest.raises(ValueError, match="at least 50 particles that vary in each coordinate"):
        fit_density(latent_likelihood(latents[:20], None))
    with pytest.raises(ValueError, match="less certain than a standard normal prior"):
        latent_likelihood(latents, 9 * errors.covariance, (np.zeros(1), np.eye(1)))
    with pytest.raises(ValueError, match="must be positive definite"):
        latent_likelihood(latents, -errors.covariance)
