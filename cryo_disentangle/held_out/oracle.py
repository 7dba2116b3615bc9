"""What the true molecule would tell of simulated particles: the bound on any method."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.oracle import posterior_means_linearised
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.particles import Particles

__all__ = ["true_molecule_posterior"]

_STEP = 0.02


@torch.no_grad()
def true_molecule_posterior(simulation: Simulation, draws: Draws) -> tuple[Tensor, Tensor]:
    """Posterior means of the factors of simulated particles under the true molecule.

    Images are taken to be linear in the factors about the truth, with derivatives by central
    differences of rendered images, so that it is a little optimistic where the noise is strong.

    Args:
        simulation: What makes the particles.
        draws: Random numbers of N particles, best of none that were trained on.

    Returns:
        Posterior means and true factors, each of shape (N, F).

    Raises:
        ValueError: If the simulation has no noise.
    """
    if not simulation.noise_std:
        raise ValueError("an oracle needs noise, and the simulation has none: every method finds z")
    particles = simulation.describe(draws)
    clean = simulation.clean(particles)
    noise = (simulation.add_noise(clean.clone(), draws) - clean).flatten(1)
    slopes = torch.stack(
        [
            (_seen(simulation, particles, step) - _seen(simulation, particles, -step)) / (2 * _STEP)
            for step in _STEP * torch.eye(particles.factors.shape[1])
        ],
        dim=2,
    )
    variance = float(noise.square().mean())
    means = posterior_means_linearised(slopes, noise, variance, particles.factors)
    return means, particles.factors


def _seen(simulation: Simulation, particles: Particles, step: Tensor) -> Tensor:
    """Clean images with factors moved by a step (F,), shape (N, M)."""
    factors = particles.factors + step
    hinges = simulation.hinges(factors)
    return simulation.clean(particles._replace(factors=factors, hinges=hinges)).flatten(1)
