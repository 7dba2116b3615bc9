"""The best that any method can do: posterior means under the truth."""

from __future__ import annotations

import torch
from held_out import HeldOut
from torch import Tensor

from cryo_disentangle.held_out import true_molecule_posterior
from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear
from cryo_disentangle.metrics.functional.oracle import fit_factor_mixture, posterior_means
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics.posterior import Likelihood

_COMPONENTS, _FRAMES, _FRAMES_STREAM, _AT_ONCE = 30, 10_000, 17, 50


def scores(found: Tensor, factors: Tensor) -> tuple[float, float]:
    """MCC and linear R² of latents with the factors."""
    return float(mcc(found, factors)), float(r2_linear(found, factors))


def true_molecule(simulation: Simulation, draws: Draws) -> tuple[float, float]:
    """Posterior means under the true molecule."""
    return scores(*true_molecule_posterior(simulation, draws))


@torch.no_grad()
def true_frames(simulation: Simulation, draws: Draws) -> tuple[float, float]:
    """Posterior means where factors do not determine the molecule: over frames of the process.

    All other frames are weighed by their likelihood, images linear about the truth in the 30
    principal components of largest variance.
    """
    particles = simulation.describe(draws)
    drawn = Draws.consecutive((simulation.seed, _FRAMES_STREAM), 0, _FRAMES)
    others = simulation.describe(drawn)
    frames, first = others.hinges[:, :_COMPONENTS], particles.hinges
    clean = simulation.clean(particles)
    noise = (simulation.add_noise(clean.clone(), draws) - clean).flatten(1)
    found = []
    for rows in torch.arange(len(first)).split(_AT_ONCE):
        some = type(particles)(*(v if v is None else v[rows] for v in particles))
        slopes = torch.stack(
            [
                (simulation.clean(some._replace(hinges=some.hinges + unit)) - clean[rows]).flatten(
                    1
                )
                for unit in torch.eye(first.shape[1])[:_COMPONENTS]
            ],
            dim=2,
        )
        change = frames - first[rows, None, :_COMPONENTS]
        fisher = slopes.mT @ slopes / noise.var()
        pulled = (slopes.mT @ noise[rows, :, None]) / noise.var()
        log = (change @ pulled)[..., 0] - 0.5 * ((change @ fisher) * change).sum(2)
        log[change.square().sum(2) < 1e-6] = -torch.inf
        found.append(log.softmax(1) @ others.factors)
    return scores(torch.cat(found), particles.factors)


def within_subspace(training: Likelihood, factors: Tensor, unseen: HeldOut) -> dict[str, float]:
    """Posterior means where coefficients are the best polynomials of the true factors."""
    mixture = fit_factor_mixture(factors, training.information, training.precision)
    z, noisy, moved = (
        posterior_means(mixture, factors, seen.information, seen.precision)
        for seen in (unseen.own, unseen.noisy, unseen.moved)
    )
    found = dict(zip(("oracle_mcc", "oracle_r2"), scores(z, unseen.factors), strict=True))
    return found | {"oracle_pose_share": pose_and_noise(z, noisy, moved)[0]}


def pose_and_noise(z: Tensor, noisy: Tensor, moved: Tensor) -> tuple[float, float]:
    """Shares of the variance of latents that another pose makes, and another draw of the noise.

    The pose's is what it makes beyond the noise: the variance over poses of a conformation's
    expected posterior mean.

    Args:
        z: Posterior means, shape (N, Z).
        noisy: Of the same views with other noise.
        moved: Of the same conformations from other poses, with other noise.
    """
    total = 2 * z.var(0).sum()
    noise = float((noisy - z).square().sum(1).mean() / total)
    return float((moved - z).square().sum(1).mean() / total) - noise, noise


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
