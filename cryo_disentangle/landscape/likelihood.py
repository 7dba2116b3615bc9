"""What each particle tells of its own latents: a normal likelihood, whatever the prior was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["LatentLikelihood", "latent_likelihood", "log_overlap"]

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LatentLikelihood:
    """Normal likelihoods of N particles' coordinates u: log p = -½ uᵀ Λ u + bᵀ u + const.

    Args:
        value: Latents as they are, shape (N, d).
        precision: Λ, shape (N, d, d); None for latents that are taken as exact.
        information: b, shape (N, d); None for latents that are taken as exact.
        spread: Standard deviation of the coordinates behind them, shape (d,).
    """

    value: FloatArray
    precision: FloatArray | None
    information: FloatArray | None
    spread: FloatArray

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.value)

    def take(self, rows: Array) -> LatentLikelihood:
        """Chooses particles.

        Args:
            rows: Their places, shape (M,).

        Returns:
            Theirs alone.
        """
        if self.precision is None or self.information is None:
            return replace(self, value=self.value[rows])
        return replace(
            self,
            value=self.value[rows],
            precision=self.precision[rows],
            information=self.information[rows],
        )


def latent_likelihood(
    value: Array,
    covariance: Array | None,
    prior: tuple[Array, Array] | None = None,
) -> LatentLikelihood:
    """Takes latents and uncertainties as likelihoods: a posterior is divided by its prior.

    Args:
        value: Posterior means, or estimates, of some coordinates, shape (N, d).
        covariance: Of each, shape (N, d, d); None takes latents as exact.
        prior: Mean (d,) and covariance (d, d) of the normal prior that posteriors contain; None
            where covariances are those of errors of estimates.

    Returns:
        The likelihoods.

    Raises:
        ValueError: If most posteriors are wider than their prior, or a covariance is not positive.
    """
    mean = np.asarray(value, dtype=np.float64)
    if covariance is None:
        return LatentLikelihood(mean, None, None, mean.std(0))
    widths = np.asarray(covariance, dtype=np.float64)
    if not (np.linalg.eigvalsh(widths)[:, 0] > 0).all():
        raise ValueError("covariances of latents must be positive definite")
    inverse = np.linalg.inv(widths)
    between, within = np.atleast_2d(np.cov(mean.T)), widths.mean(0)
    if prior is None:
        left = np.diagonal(between - within)
        # Errors may explain all of the spread, and then nothing is behind it.
        spread = np.sqrt(np.maximum(left, 0.02 * np.diagonal(between)))
        information = (inverse @ mean[:, :, None])[..., 0]
        return LatentLikelihood(mean, np.asarray(inverse), information, spread)
    centre, wide = prior
    before = np.linalg.inv(wide)
    values, vectors = np.linalg.eigh(inverse - before)
    if float((values[:, 0] < -1e-3 * values[:, -1].clip(1e-12)).mean()) > 0.5:
        raise ValueError(
            "most latents are less certain than a standard normal prior, so they are no posteriors "
            "under it (`cryo-disentangle axes --errors` takes covariances for those of errors)"
        )
    information = (inverse @ mean[:, :, None])[..., 0] - before @ np.asarray(centre)
    # A posterior as wide as its prior tells nothing, in whatever direction that is.
    told = values > 0
    turned = np.where(told, (vectors.mT @ information[:, :, None])[..., 0], 0)
    return LatentLikelihood(
        mean,
        (vectors * np.where(told, values, 0)[:, None]) @ vectors.mT,
        (vectors @ turned[:, :, None])[..., 0],
        np.sqrt(np.diagonal(between + within)),
    )


def log_overlap(likelihood: LatentLikelihood, nodes: FloatArray, width: FloatArray) -> FloatArray:
    """Logarithm of each particle's likelihood, averaged over normal distributions about nodes.

    Args:
        likelihood: Of N particles in d coordinates.
        nodes: Means of the distributions, shape (G, d).
        width: Their standard deviation along each coordinate, shape (d,).

    Returns:
        Shape (N, G), up to a constant for each particle, whatever nodes and widths.
    """
    if likelihood.precision is None or likelihood.information is None:
        scaled = (likelihood.value[:, None] - nodes) / width
        return np.asarray(-0.5 * np.square(scaled).sum(-1) - np.log(width).sum())
    sharp = np.diag(width**-2)
    inverse = np.linalg.inv(sharp + likelihood.precision)
    joint = (nodes * width**-2)[None] + likelihood.information[:, None]
    quadratic = ((joint @ inverse) * joint).sum(-1)
    scale = 0.5 * np.linalg.slogdet(sharp + likelihood.precision)[1] + np.log(width).sum()
    return np.asarray(0.5 * (quadratic - np.square(nodes / width).sum(-1)) - scale[:, None])
