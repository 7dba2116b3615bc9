"""Interventional robustness score."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_codes,
    constant_columns,
    standardize,
)

__all__ = ["irs"]


def irs(
    z: Array,
    factors: Array,
    *,
    bins: int = 20,
    quantile: float = 0.99,
    reference: bool = False,
) -> Tensor:
    """Interventional robustness score.

    For factor j cut into bins of equal width, the ``quantile`` of |z_i - mean z_i| within a bin,
    averaged over bins, is how far latent i strays while f_j stands still; over max |z_i - mean
    z_i| and subtracted from 1 it is the robustness of i to all but j. IRS is the mean over latents
    of the best j, each latent weighed by max |z_i - mean z_i| in units of its standard deviation.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        bins: Number of bins of each factor.
        quantile: Quantile of the deviations in a bin, in [0, 1].
        reference: disentanglement_lib's form, which weighs latents by their raw deviation, so that
            a latent's scale matters.

    Returns:
        Scalar, at most 1, where each latent is constant while one factor is. Poor contrast: noise
        has 0.3 to 0.5.

    Raises:
        ValueError: If ``quantile`` is outside [0, 1] or the arrays are no finite columns of the
            same samples.

    Edge cases: constant latents are left out, and 0 if there are no others; constant factors and
    duplicate factors or latents are no fault; nor is K < D; with few samples a bin (fewer samples
    than bins) the score rises to 1 for anything.

    References:
        Suter et al. 2019, Robustly disentangled causal mechanisms, Section 4.
    """
    if not 0 <= quantile <= 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile}")
    latents, truth = check_codes(z, factors)
    latents = latents[:, ~constant_columns(latents)]
    if latents.shape[1] == 0:
        return latents.new_zeros(())
    latents = latents - latents.mean(0) if reference else standardize(latents)
    largest = latents.abs().amax(0)
    strays = [
        _stray(latents, labels, quantile) for labels in bin_codes(truth, bins, rule="width").T
    ]
    robust = (1 - torch.stack(strays) / largest).amax(0)
    return (robust * largest).sum() / largest.sum()


def _stray(latents: Tensor, labels: Tensor, quantile: float) -> Tensor:
    """Quantile of the distance from the bin's mean, averaged over the occupied bins; (K,)."""
    within = []
    for label in labels.unique():
        members = latents[labels == label]
        distances = (members - members.mean(0)).abs().sort(dim=0).values
        place = quantile * (len(members) - 1)
        low = int(place)
        high = min(low + 1, len(members) - 1)
        within.append(torch.lerp(distances[low], distances[high], place - low))
    return torch.stack(within).mean(0)
