"""How far latents depend on each other: no factors needed."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_columns,
    constant_columns,
    standardize,
)
from cryo_disentangle.metrics.functional.information import mutual_information

__all__ = [
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "pairwise_mutual_information",
]

# Least variance of a direction, of standardised latents, that is not taken for collinearity.
_COLLINEAR = 1e-13


def gaussian_total_correlation(z: Array) -> Tensor:
    """Total correlation of a normal distribution with the latents' covariance.

    TC = (Σ log Σ_kk - log det Σ) / 2 nats.

    Args:
        z: Latents, shape (N, K).

    Returns:
        Scalar, 0 where latents are uncorrelated; no scaling of latents changes it.

    Raises:
        ValueError: If ``z`` is no array of finite columns.

    Edge cases: constant latents depend on nothing and are left out; a single latent has 0;
    collinear (duplicate) latents, and N <= K, have infinity.

    References:
        Watanabe 1960; Locatello et al. 2019, Challenging common assumptions, Appendix.
    """
    columns = check_columns(z, "z")
    active = standardize(columns[:, ~constant_columns(columns)])
    if active.shape[1] == 0:
        return active.new_zeros(())
    variances = torch.linalg.eigvalsh(active.T @ active / len(active))
    if variances[0] <= _COLLINEAR:
        return active.new_tensor(math.inf)
    return (-0.5 * variances.log().sum()).clamp(min=0)


def gaussian_wasserstein_correlation(z: Array, *, normalized: bool = False) -> Tensor:
    """Squared 2-Wasserstein distance between normals with the latents' covariance and its diagonal.

    W² = 2 (tr Σ - tr (D^½ Σ D^½)^½), with D the diagonal of Σ (1/(N - 1)).

    Args:
        z: Latents, shape (N, K).
        normalized: Whether to divide by tr Σ, so that a common scale of the latents cancels.

    Returns:
        Scalar, in the latents' squared unit, or in [0, 2) if ``normalized``; 0 where latents are
        uncorrelated.

    Raises:
        ValueError: If ``z`` is no array of finite columns.

    Edge cases: constant latents add nothing; 0 if there are no others; collinear latents are no
    fault.

    References:
        Locatello et al. 2019, Challenging common assumptions, Appendix.
    """
    columns = check_columns(z, "z")
    centred = (columns - columns.mean(0)).masked_fill(constant_columns(columns), 0.0)
    covariance = centred.T @ centred / (len(centred) - 1)
    scale = covariance.diagonal().sqrt()
    roots = torch.linalg.eigvalsh(scale[:, None] * covariance * scale).clamp(min=0).sqrt()
    total = covariance.trace()
    distance = 2 * (total - roots.sum()).clamp(min=0)
    return distance / total.masked_fill(total == 0, 1.0) if normalized else distance


def pairwise_mutual_information(z: Array, *, bins: int = 20, reference: bool = False) -> Tensor:
    """Mean mutual information of two latents, in nats.

    Args:
        z: Latents, shape (N, K).
        bins: Number of bins of equal mass.
        reference: disentanglement_lib's form: bins of equal width, without the correction for few
            samples of Miller and Madow.

    Returns:
        Scalar; about 0 where latents are independent.

    Raises:
        ValueError: If ``z`` is no array of finite columns.

    Edge cases: constant latents share nothing with any; a single latent has 0; duplicate latents
    share their entropy; with fewer samples than bins all latents look alike.

    References:
        Locatello et al. 2019, Challenging common assumptions, Appendix.
    """
    columns = check_columns(z, "z")
    labels = bin_codes(columns, bins, rule="width" if reference else "rank")
    information = mutual_information(labels, labels, miller_madow=not reference)
    pairs = len(information) * (len(information) - 1)
    return (information.sum() - information.trace()) / max(1, pairs)
