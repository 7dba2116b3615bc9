"""The bound under the true molecule."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.held_out.oracle import (
    posterior_of_stack,
    posterior_of_statistics,
    true_molecule_posterior,
)
from cryo_disentangle.held_out.sources import SimulatedFolder
from cryo_disentangle.metrics.functional import r2_linear
from cryo_disentangle.simulation import (
    Microscope,
    NormalFactors,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.microscope import ColouredNoise, Noise
from cryo_disentangle.simulation.molecule import GaussianMolecule
from tests.statistics.synthetic import statistics_of


def _simulation(noise: Noise | None) -> Simulation:
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


class _OneArm(GaussianMolecule):
    """A row of Gaussians that turns about a fixed one."""

    dim = 1
    weights = torch.ones(11)
    sigma = 4.0

    def centres(self, conformation: Tensor) -> Tensor:
        angle, reach = conformation * math.pi / 2, torch.linspace(0.0, 40.0, 10)
        arm = torch.stack([reach * angle.cos(), reach * angle.sin(), 0 * reach * angle], 2)
        return torch.cat([arm.new_tensor([-20.0, 0.0, 10.0]).expand(len(arm), 1, 3), arm], 1)


@pytest.mark.parametrize("molecule", [TwoArms(), _OneArm()])
@pytest.mark.parametrize("snr", [0.03, 0.3])
def test_all_conformations_that_the_image_may_show_count(
    molecule: GaussianMolecule, snr: float
) -> None:
    """An arm that is seen from the side may point to the viewer as well as away."""
    simulation = Simulation(
        molecule,
        UniformFactors(molecule.dim),
        Microscope(UniformViews(), None, None, WhiteNoise(snr)),
        10,
        box_size=24,
        pixel_size=5.67,
    )
    draws = Draws.consecutive((0, 99), 0, 40)
    means, factors = true_molecule_posterior(simulation, draws)
    particles = simulation.describe(draws)
    images = simulation.add_noise(simulation.clean(particles), draws)
    prior = simulation.describe(simulation.calibration_draws(0, 4096))
    expected = []
    for image, rotation in zip(images, particles.rotation, strict=True):
        seen = simulation.clean(prior._replace(rotation=rotation.expand(4096, 3, 3)))
        log = (seen - image).square().sum((1, 2)) / (-2 * simulation.noise_std**2)
        expected.append(log.double().softmax(0) @ prior.factors.double())
    exact = torch.stack(expected)
    error, difference = ((z - factors).square().mean().sqrt() for z in (exact, means))
    assert float(difference) == pytest.approx(float(error), rel=0.1)
    assert float((means - exact).square().mean().sqrt()) < 0.3 * float(error)


def test_of_many_factors_images_are_linear_about_the_truth() -> None:
    scope = Microscope(UniformViews(), None, None, WhiteNoise(1.0))
    molecule = TwoArms(lengths=(40.0, 30.0, 35.0))
    simulation = Simulation(molecule, UniformFactors(3), scope, 10, box_size=24, pixel_size=5.67)
    means, factors = true_molecule_posterior(simulation, Draws.consecutive((0, 9), 0, 200))
    assert 0.8 < float(r2_linear(means, factors)) < 1


def test_an_oracle_needs_noise() -> None:
    with pytest.raises(ValueError, match="needs noise, and the simulation has none"):
        true_molecule_posterior(_simulation(None), Draws.consecutive((0, 9), 0, 5))


def test_the_oracle_of_a_stack_is_that_of_its_simulation(tmp_path: Path) -> None:
    simulation = replace(_simulation(WhiteNoise(0.3)), n_images=300)
    simulation.write(tmp_path / "stack")
    means, factors = true_molecule_posterior(simulation, simulation.stack_draws(0, 300))
    source = SimulatedFolder(tmp_path / "stack")
    found = posterior_of_stack(source, np.arange(300))
    # The corners of Fourier space are left out.
    expected, reached = (float(r2_linear(z, factors)) for z in (means, found))
    assert reached == pytest.approx(expected, abs=0.02)
    assert float((found - means).square().mean()) < 0.1 * float((means - factors).square().mean())
    assert SimulatedFolder.lies_in(tmp_path / "stack")
    assert not SimulatedFolder.lies_in(tmp_path)


def test_coloured_noise_is_whitened(tmp_path: Path) -> None:
    """Noise of low frequencies alone hides less than as much white noise."""
    found = {}
    spectrum = [1.0 if k < 3 else 0.02 for k in range(9)]
    for name, noise in (("white", WhiteNoise(0.05)), ("low", ColouredNoise(0.05, spectrum, 16))):
        replace(_simulation(noise), n_images=150).write(tmp_path / name)
        source = SimulatedFolder(tmp_path / name)
        factors = torch.from_numpy(source.stack.labels.factors)
        found[name] = float(r2_linear(posterior_of_stack(source, np.arange(150)), factors))
    assert found["low"] > found["white"] + 0.1


def test_a_stack_without_noise_has_no_bound(tmp_path: Path) -> None:
    replace(_simulation(None), n_images=20).write(tmp_path / "clean")
    with pytest.raises(ValueError, match="needs noise, and the simulation has none"):
        posterior_of_stack(SimulatedFolder(tmp_path / "clean"), np.arange(20))


def test_the_oracle_of_a_subspace_is_the_posterior_of_its_coefficients() -> None:
    """Of factors that are the coefficients, and standard normal."""
    factors = torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    statistics = statistics_of(factors)
    places = torch.arange(0, 3000, 10)
    found = posterior_of_statistics(statistics, factors, places)
    some = statistics.take(places)
    exact = torch.linalg.solve(some.precision + torch.eye(2), some.information).double()
    expected, reached = (float(r2_linear(z, factors[places])) for z in (exact, found))
    assert reached == pytest.approx(expected, abs=0.01)
