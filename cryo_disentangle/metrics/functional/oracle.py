"""The best that any method can do on simulated particles: posterior means under the truth."""

from __future__ import annotations

import itertools
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._marginal import Marginal
from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear

__all__ = [
    "FactorMixture",
    "Mixture",
    "fit_factor_mixture",
    "oracle_scores",
    "posterior_means",
    "posterior_means_linearised",
    "posterior_means_of_draws",
    "posterior_means_of_samples",
]

_RIDGE = 1e-6
_AT_ONCE = 512
_PRIOR_SAMPLES = 4096
_WIDER, _NEWTON_STEPS, _DIFFERENCE = 1.3, 5, 1e-3


class Mixture(Protocol):
    """Coefficients of K volumes as a function of true factors: c = φ*(f)."""

    @property
    def spread(self) -> Tensor:
        """Standard deviation of the factors, shape (F,)."""
        ...

    def __call__(self, factors: Tensor) -> Tensor:
        """Evaluates the function.

        Args:
            factors: Shape (..., F).

        Returns:
            Coefficients, shape (..., K).
        """
        ...


class FactorMixture(NamedTuple):
    """Coefficients of K volumes as polynomials of true factors: c = φ*(f).

    Attributes:
        centre: Mean of the factors, shape (F,).
        spread: Their standard deviation, shape (F,).
        exponents: Of each monomial of the standardised factors, shape (P, F).
        weights: Shape (K, P).
    """

    centre: Tensor
    spread: Tensor
    exponents: Tensor
    weights: Tensor

    def __call__(self, factors: Tensor) -> Tensor:
        """Evaluates the polynomials.

        Args:
            factors: Shape (..., F).

        Returns:
            Coefficients, shape (..., K).
        """
        return self.monomials(factors) @ self.weights.T

    def monomials(self, factors: Tensor) -> Tensor:
        """Evaluates the monomials of standardised factors.

        Args:
            factors: Shape (..., F).

        Returns:
            Shape (..., P).
        """
        reduced = (factors - self.centre) / self.spread
        return (reduced[..., None, :] ** self.exponents).prod(-1)


def fit_factor_mixture(
    factors: Tensor, information: Tensor, precision: Tensor, degree: int | None = None
) -> FactorMixture:
    """Finds the polynomials under which statistics are likeliest, in closed form.

    Args:
        factors: True factors, shape (N, F).
        information: b, shape (N, K).
        precision: Λ, shape (N, K, K).
        degree: Largest total degree of a monomial; None is 5 for one or two factors, else 3.

    Returns:
        The mixture, float64.

    Raises:
        ValueError: If shapes disagree, a factor does not vary, or there are too few particles for
            the monomials.
    """
    count, width = factors.shape
    if len(information) != count or precision.shape != (*information.shape, information.shape[1]):
        raise ValueError(
            "factors (N, F), information (N, K) and precision (N, K, K) of the same particles are "
            f"needed, found {tuple(factors.shape)}, {tuple(information.shape)} and "
            f"{tuple(precision.shape)}"
        )
    factors = factors.double()
    spread = factors.std(0)
    if not bool((spread > 0).all()):
        raise ValueError(f"factors must vary, found standard deviations {spread.tolist()}")
    degree = (5 if width <= 2 else 3) if degree is None else degree
    exponents = torch.tensor(
        [each for each in itertools.product(range(degree + 1), repeat=width) if sum(each) <= degree]
    )
    if count < 2 * len(exponents):
        raise ValueError(
            f"polynomials of degree {degree} in {width} factors have {len(exponents)} terms and "
            f"need {2 * len(exponents)} particles, found {count}"
        )
    rank, terms = information.shape[1], len(exponents)
    empty = torch.zeros(rank, terms, dtype=torch.float64)
    mixture = FactorMixture(factors.mean(0), spread, exponents, empty)
    system = empty.new_zeros(rank, terms, rank, terms)
    right = empty.clone()
    for rows in torch.arange(count).split(8 * _AT_ONCE):
        some = mixture.monomials(factors[rows])
        outer = (some[:, :, None] * some[:, None, :]).flatten(1)
        moments = precision[rows].double().flatten(1).T @ outer
        system += moments.view(rank, rank, terms, terms).permute(0, 2, 1, 3)
        right += information[rows].double().T @ some
    flat = system.reshape(rank * terms, rank * terms)
    flat = flat + _RIDGE * flat.diagonal().mean() * torch.eye(len(flat), dtype=flat.dtype)
    weights = torch.linalg.solve(flat, right.flatten()).view(rank, terms)
    return mixture._replace(weights=weights)


def posterior_means(
    mixture: FactorMixture,
    prior: Tensor,
    information: Tensor,
    precision: Tensor,
    seed: int = 0,
    draws: int = 1024,
) -> Tensor:
    """Posterior means of factors given statistics: what the best encoder on the subspace infers.

    Up to two factors, samples of the prior are weighted by the likelihood. Of more, most samples
    would miss the posterior: draws from a normal approximation of it, found by Gauss-Newton steps,
    are weighted, with the prior as the product of the factors' densities.

    Args:
        mixture: φ*.
        prior: Samples of the factors, shape (S, F), such as the factors of the training particles.
        information: b of N particles, shape (N, K).
        precision: Λ, shape (N, K, K).
        seed: Of the choice of samples and of the draws.
        draws: Number of draws a particle where there are more than two factors.

    Returns:
        Means, shape (N, F), float64.

    References:
        Klindt et al. 2024, Appendix A: the true inference f*.
    """
    generator = torch.Generator().manual_seed(seed)
    prior = prior.double()
    chosen = prior[torch.randperm(len(prior), generator=generator)[:_PRIOR_SAMPLES]]
    found = []
    mixed = mixture(chosen)
    for rows in torch.arange(len(information)).split(_AT_ONCE):
        b, size = information[rows].double(), precision[rows].double()
        mean = posterior_means_of_samples(chosen, mixed, b, size)[0]
        if prior.shape[1] > 2:
            mean = posterior_means_of_draws(mixture, prior, (b, size), mean, draws, generator)
        found.append(mean)
    return torch.cat(found)


def posterior_means_of_samples(
    samples: Tensor, coefficients: Tensor, information: Tensor, precision: Tensor
) -> tuple[Tensor, Tensor]:
    """Posterior means of factors as samples of their prior, weighted by the likelihood.

    Args:
        samples: Of the factors, shape (S, F).
        coefficients: Of the volumes in these samples, shape (S, K).
        information: b of N particles, shape (N, K).
        precision: Λ, shape (N, K, K).

    Returns:
        Means, shape (N, F), float64, and how many samples have weight (1 / Σ w²), shape (N,).
    """
    log = _log_likelihood(coefficients.double(), information.double(), precision.double())
    weights = log.softmax(1)
    return weights @ samples.double(), 1 / weights.square().sum(1)


def posterior_means_of_draws(
    mixture: Mixture,
    prior: Tensor,
    statistics: tuple[Tensor, Tensor],
    start: Tensor,
    draws: int,
    generator: torch.Generator,
) -> Tensor:
    """Posterior means of factors as weighted draws from a normal approximation of each posterior.

    Args:
        mixture: φ*.
        prior: Samples of the factors, whose product of marginal densities is the prior, (S, F).
        statistics: b and Λ of N particles, shapes (N, K) and (N, K, K), float64.
        start: Where Gauss-Newton steps to the mode begin, shape (N, F).
        draws: Number of draws a particle.
        generator: Source of the draws.

    Returns:
        Means, shape (N, F), float64.
    """
    information, precision = statistics
    width = prior.shape[1]
    inverse = torch.linalg.inv(torch.cov(prior.T).reshape(width, width))
    marginals = [Marginal.of(samples) for samples in prior.T]
    at, value = start, _log_posterior(mixture, marginals, statistics, start)
    damping = torch.ones_like(value)
    for _ in range(_NEWTON_STEPS):
        slopes = _slopes(mixture, at)
        residual = information - (precision @ mixture(at)[..., None])[..., 0]
        curvature = slopes.mT @ precision @ slopes + inverse
        force = (slopes.mT @ residual[..., None])[..., 0] - (at - prior.mean(0)) @ inverse
        tried = at + damping[:, None] * torch.linalg.solve(curvature, force)
        there = _log_posterior(mixture, marginals, statistics, tried)
        better = there > value
        at, value = torch.where(better[:, None], tried, at), torch.where(better, there, value)
        damping = torch.where(better, 1.0, damping / 4)
    slopes = _slopes(mixture, at)
    curvature = slopes.mT @ precision @ slopes + inverse
    root = _WIDER * torch.linalg.cholesky(torch.linalg.inv(curvature))
    white = torch.randn(len(at), draws, at.shape[1], generator=generator, dtype=at.dtype)
    drawn = at[:, None] + white @ root.mT
    log = _log_posterior(mixture, marginals, statistics, drawn) + 0.5 * white.square().sum(-1)
    return (log.softmax(1)[..., None] * drawn).sum(1)


def posterior_means_linearised(
    slopes: Tensor, noise: Tensor, variance: float, factors: Tensor
) -> Tensor:
    """Posterior means under the true molecule, its images linear about the truth.

    A little optimistic: the search begins at the truth.

    Args:
        slopes: Derivatives of each clean image after the factors, shape (N, M, F).
        noise: The noise of the images, shape (N, M).
        variance: Its variance.
        factors: True factors, shape (N, F); their mean and covariance are the prior's.

    Returns:
        Means, shape (N, F).
    """
    width = factors.shape[1]
    prior = torch.linalg.inv(torch.cov(factors.T).reshape(width, width))
    precision = slopes.mT @ slopes / variance + prior
    pulled = (slopes.mT @ noise[..., None])[..., 0] / variance
    pulled = pulled - (factors - factors.mean(0)) @ prior
    return factors + torch.linalg.solve(precision, pulled)


def oracle_scores(z: Tensor, oracle: Tensor, factors: Tensor) -> dict[str, Tensor]:
    """Scores latents beside the best that any method can reach, and the share of it.

    Args:
        z: Latents, shape (N, Z).
        oracle: Posterior means of the factors of the same particles, shape (N, F).
        factors: True factors, shape (N, F).

    Returns:
        ``mcc`` and ``r2``, ``mcc_oracle`` and ``r2_oracle``, ``mcc_share`` and ``r2_share``.
    """
    scores: dict[str, Tensor] = {}
    for name, score in (("mcc", mcc), ("r2", r2_linear)):
        mine, best = score(z, factors), score(oracle, factors)
        scores |= {name: mine, f"{name}_oracle": best, f"{name}_share": mine / best}
    return scores


def _log_likelihood(coefficients: Tensor, information: Tensor, precision: Tensor) -> Tensor:
    """bᵀ c - ½ cᵀ Λ c of coefficients (S, K) for each of N particles, shape (N, S)."""
    outer = (coefficients[:, :, None] * coefficients[:, None, :]).flatten(1)
    return information @ coefficients.T - 0.5 * precision.flatten(1) @ outer.T


def _slopes(mixture: Mixture, at: Tensor) -> Tensor:
    """Derivatives of coefficients after factors by central differences, (N, K, F)."""
    steps = torch.diag(_DIFFERENCE * mixture.spread)
    moved = [(mixture(at + step) - mixture(at - step)) / (2 * step.sum()) for step in steps]
    return torch.stack(moved, 2)


def _log_posterior(
    mixture: Mixture, prior: list[Marginal], statistics: tuple[Tensor, Tensor], at: Tensor
) -> Tensor:
    """Log posterior density of factors (N, F) or (N, S, F) up to a constant, (N,) or (N, S)."""
    information, precision = statistics
    mixed = mixture(at.reshape(len(at), -1, at.shape[-1]))
    quadratic = ((mixed @ precision) * mixed).sum(-1)
    log = (mixed @ information[..., None])[..., 0] - 0.5 * quadratic
    each = [marginal(at[..., factor]) for factor, marginal in enumerate(prior)]
    return log.reshape(at.shape[:-1]) + torch.stack(each).sum(0)
