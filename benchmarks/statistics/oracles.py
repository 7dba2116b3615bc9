"""The best that any method can do: posterior means under the truth."""

from __future__ import annotations

from dataclasses import replace

import torch
from held_out import HeldOut, statistics_of
from settings import Setting
from torch import Tensor

from cryo_disentangle.held_out import true_molecule_posterior
from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear
from cryo_disentangle.metrics.functional.oracle import fit_factor_mixture, posterior_means
from cryo_disentangle.particles.preprocessing import HartleyPreprocessing
from cryo_disentangle.simulation import Simulation
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.statistics.posterior import Likelihood
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.types import Pose

_FRAMES, _FRAMES_STREAM, _AT_ONCE = 8192, 17, 50
_BASIS, _VOLUMES, _RADIUS, _SAME = 512, 60, 24, 1e-3


def scores(found: Tensor, factors: Tensor) -> tuple[float, float]:
    """MCC and linear R² of latents with the factors."""
    return float(mcc(found, factors)), float(r2_linear(found, factors))


def true_molecule(simulation: Simulation, draws: Draws) -> tuple[float, float]:
    """Posterior means under the true molecule."""
    return scores(*true_molecule_posterior(simulation, draws))


@torch.no_grad()
def true_frames(simulation: Simulation, draws: Draws) -> tuple[float, float]:
    """Posterior means where factors do not determine the molecule: over other frames.

    Frames are weighed by the likelihood of the image in 60 principal volumes of them.
    """
    drawn = Draws.consecutive((simulation.seed, _FRAMES_STREAM), 0, _FRAMES)
    others = simulation.describe(drawn)
    subspace, coefficients = principal_volumes(simulation, others.hinges)
    particles = simulation.describe(draws)
    clean = simulation.clean(particles)
    images = simulation.add_noise(clean.clone(), draws)
    preprocessing = HartleyPreprocessing(invert=True, window_radius=None, norm=(0.0, 1.0))
    noise = subspace.grid.disc.select(preprocessing(images - clean)).var()
    subspace = replace(subspace, noise=noise.expand(subspace.radius + 1).clone())
    pose, setting = Pose(particles.rotation), Setting(lambda _: simulation)
    seen = statistics_of(preprocessing(images), pose, particles.ctf, subspace, setting)
    found = []
    for rows in torch.arange(len(images)).split(_AT_ONCE):
        b, size = seen.information[rows], seen.precision[rows]
        quadratic = torch.einsum("sk,nkl,sl->ns", coefficients, size, coefficients)
        log = (b @ coefficients.T - 0.5 * quadratic).double()
        log[torch.cdist(particles.hinges[rows], others.hinges) < _SAME] = -torch.inf
        found.append(log.softmax(1).float() @ others.factors)
    return scores(torch.cat(found), particles.factors)


def principal_volumes(simulation: Simulation, hinges: Tensor) -> tuple[Subspace, Tensor]:
    """Mean and principal volumes of conformations, and the coefficients of each."""
    box, pixel = simulation.box_size, simulation.pixel_size

    def volumes(some: Tensor) -> Tensor:
        return simulation.molecule.volume(some, box, pixel).flatten(1)

    basis = torch.cat([volumes(some) for some in hinges[:_BASIS].split(_AT_ONCE)])
    mean = basis.mean(0)
    axes = torch.linalg.svd((basis - mean) @ (basis - mean).T)[0][:, :_VOLUMES].T @ (basis - mean)
    axes = torch.linalg.qr(axes.T)[0].T
    coefficients = [(volumes(some) - mean) @ axes.T for some in hinges.split(_AT_ONCE)]
    found = torch.cat([mean[None], axes]).unflatten(1, (box,) * 3)
    return Subspace.of_volumes(found, pixel, min(_RADIUS, box // 2), 1.0), torch.cat(coefficients)


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
