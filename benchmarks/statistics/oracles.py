"""The best that any method can do: posterior means under the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear
from cryo_disentangle.metrics.functional.oracle import (
    fit_factor_mixture,
    posterior_means,
    posterior_means_linearised,
)
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics.posterior import Likelihood

_STEP = 0.02


def scores(found: Tensor, factors: Tensor) -> tuple[float, float]:
    """MCC and linear R² of latents with the factors."""
    return float(mcc(found, factors)), float(r2_linear(found, factors))


@torch.no_grad()
def true_molecule(simulation: Simulation, draws: Draws) -> tuple[float, float]:
    """Posterior means under the true molecule, linear about the truth: a little optimistic."""
    particles = simulation.describe(draws)
    clean = simulation.clean(particles)
    noise = (simulation.add_noise(clean.clone(), draws) - clean).flatten(1)
    factors, variance = particles.factors, noise.var()

    def image(moved: Tensor) -> Tensor:
        changed = particles._replace(factors=moved)
        if particles.hinges is not None:
            changed = changed._replace(hinges=simulation.hinges(moved.double()).float())
        return simulation.clean(changed).flatten(1)

    slopes = torch.stack(
        [
            (image(factors + step) - image(factors - step)) / (2 * _STEP)
            for step in _STEP * torch.eye(factors.shape[1])
        ],
        dim=2,
    )
    found = posterior_means_linearised(slopes, noise, float(variance), factors)
    return scores(found, factors)


def within_subspace(
    training: Likelihood, factors: Tensor, held_out: Likelihood, truth: Tensor
) -> tuple[float, float]:
    """Posterior means where coefficients are the best polynomials of the true factors."""
    mixture = fit_factor_mixture(factors, training.information, training.precision)
    found = posterior_means(mixture, factors, held_out.information, held_out.precision)
    return scores(found, truth)


def best_rotation(found: Tensor, factors: Tensor) -> float:
    """MCC of latents that are whitened and turned to the factors as far as a rotation can."""
    white, truth = _white(found.double()), _white(factors.double())
    left, _, right = torch.linalg.svd(white.T @ truth)
    return float(mcc(white @ left @ right, truth))


def _white(columns: Tensor) -> Tensor:
    """Columns of zero mean and unit covariance."""
    centred = columns - columns.mean(0)
    factor = torch.linalg.cholesky(torch.cov(columns.T))
    return torch.linalg.solve_triangular(factor, centred.T, upper=False).T
