"""The best that any method can do: posterior means under the truth."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics.posterior import Likelihood

_STEP = 0.02
_RIDGE = 1e-6
_EDGE, _POINTS = 3.5, 51


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

    width = factors.shape[1]
    slopes = torch.stack(
        [(image(factors + d) - image(factors - d)) / (2 * _STEP) for d in _STEP * torch.eye(width)],
        dim=2,
    )
    prior = torch.diag(1 / factors.var(0))
    precision = slopes.mT @ slopes / variance + prior
    right = (slopes.mT @ noise[..., None])[..., 0] / variance
    right += (precision @ factors[..., None])[..., 0] - (factors - factors.mean(0)) @ prior
    return scores(torch.linalg.solve(precision, right), factors)


def within_subspace(
    training: Likelihood, factors: Tensor, held_out: Likelihood, truth: Tensor
) -> tuple[float, float]:
    """Posterior means where coefficients are the best cubic of two true factors."""
    centre, spread = factors.mean(0), factors.std(0)
    rank = training.information.shape[1]
    features = _cubic((factors - centre) / spread).double()
    width = features.shape[1]
    system = torch.zeros(rank * width, rank * width, dtype=torch.float64)
    right = torch.zeros(rank, width, dtype=torch.float64)
    for rows in torch.arange(len(factors)).split(4096):
        some, precision = features[rows], training.precision[rows].double()
        system += torch.einsum("np,nq,nij->ipjq", some, some, precision).reshape_as(system)
        right += torch.einsum("np,ni->ip", some, training.information[rows].double())
    system += _RIDGE * system.diagonal().mean() * torch.eye(len(system))
    weights = torch.linalg.solve(system, right.flatten()).view(rank, width).float()
    axis = torch.linspace(-_EDGE, _EDGE, _POINTS)
    grid = torch.cartesian_prod(axis, axis)
    coefficients = _cubic(grid) @ weights.T
    quadratic = torch.einsum("gi,nij,gj->ng", coefficients, held_out.precision, coefficients)
    log = held_out.information @ coefficients.T - 0.5 * quadratic
    return scores((log - 0.5 * grid.square().sum(1)).softmax(1) @ grid, truth)


def _cubic(z: Tensor) -> Tensor:
    """All monomials of two coordinates up to the third degree, (N, 2) -> (N, 10)."""
    x, y = z.unbind(1)
    terms = [x**i * y**j for i in range(4) for j in range(4 - i)]
    return torch.stack(terms, 1)
