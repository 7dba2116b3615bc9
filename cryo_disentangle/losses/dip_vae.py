"""Covariance of the aggregate posterior, drawn towards the identity: DIP-VAE."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["DIPVAE", "dip_covariance"]

_Variant = Literal["I", "II"]


def dip_covariance(inference: Inference, variant: _Variant) -> Tensor:
    """Covariance over the batch that DIP-VAE constrains.

    Args:
        inference: Posteriors of B particles, (B, Z).
        variant: ``I``, that of the posterior means; ``II``, that of the aggregate posterior, to
            which the posteriors' own variances add.

    Returns:
        Shape (Z, Z), with the number of particles in the denominator.
    """
    centred = inference.mean - inference.mean.mean(0)
    # As a sum of products, since autocast would round a matrix product to three digits.
    covariance = (centred[:, :, None] * centred[:, None, :]).mean(0)
    if variant == "II":
        if inference.scale_tril is None:
            return covariance + torch.diag(inference.log_variance.exp().mean(0))
        return covariance + inference.covariance.mean(0)
    return covariance


class DIPVAE(ScheduledPenalty):
    """Penalty of DIP-VAE: coordinates should be uncorrelated, with variance one.

    weight · (Σ_{i≠j} Cov_ij² + diagonal · Σ_i (Cov_ii - 1)²). Only particles of one process are
    compared. `terms`: ``off_diagonal`` and ``diagonal``, the two sums.

    Args:
        weight: Weight λ_od, a number or a schedule.
        diagonal: λ_d / λ_od; the paper takes 10 for ``I`` and 1 for ``II``.
        variant: Covariance of the posterior means, ``I``, or of the aggregate posterior, ``II``.

    Raises:
        ValueError: If a weight is negative; when called, if the batch is of one particle.

    References:
        Kumar et al. 2018, Variational inference of disentangled latent concepts, Eqs. 6 and 7.
    """

    def __init__(
        self, weight: float | Schedule = 1.0, diagonal: float = 10.0, variant: _Variant = "I"
    ) -> None:
        super().__init__(weight)
        if not diagonal >= 0:
            raise ValueError(f"the weight of DIP-VAE's diagonal must be >= 0, found {diagonal}")
        self.diagonal = diagonal
        self.variant: _Variant = variant

    def _weighted(
        self,
        weight: float,
        model: LatentImageModel,  # noqa: ARG002
        batch: ParticleBatch,  # noqa: ARG002
        inference: Inference,
    ) -> Tensor:
        if len(inference.mean) < 2:
            raise ValueError("DIP-VAE needs batches of at least 2 particles, found 1")
        covariance = dip_covariance(inference, self.variant)
        variance = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variance.square().sum()
        on_diagonal = (variance - 1).square().sum()
        self.terms = {"off_diagonal": off_diagonal.detach(), "diagonal": on_diagonal.detach()}
        return weight * (off_diagonal + self.diagonal * on_diagonal)
