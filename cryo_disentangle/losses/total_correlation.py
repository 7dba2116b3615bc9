"""Total correlation of the aggregate posterior, estimated in a batch: β-TCVAE."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from cryo_disentangle.losses.draws import in_python, sample_posterior
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import Schedule
from cryo_disentangle.protocols.models import LatentImageModel
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["TotalCorrelation", "total_correlation"]

_Sampling = Literal["weighted", "stratified"]


def _log_weights(count: int, dataset_size: int, sampling: _Sampling, like: Tensor) -> Tensor:
    """Logarithm of what posterior j weighs in the density at sample i, shape (B, B)."""
    weights = torch.full((count, count), 1 / (dataset_size * count), device=like.device).to(like)
    if sampling == "stratified":
        others = count - 1
        weights.fill_(1 / others)
        weights.fill_diagonal_(1 / dataset_size)
        # One of the others stands for all particles that are not in the batch.
        row = torch.arange(count, device=like.device)
        weights[row, (row + 1) % count] = (dataset_size - others) / (dataset_size * others)
    return weights.log()


def _full_density(difference: Tensor, scale_tril: Tensor) -> Tensor:
    """Log-density (B, B) of differences (B, B, Z) under normals of factors (B, Z, Z), columns."""
    width = difference.shape[-1]
    reduced = torch.linalg.solve_triangular(scale_tril, difference.permute(1, 2, 0), upper=False)
    log_volume = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (width * math.log(2 * math.pi) + reduced.square().sum(1).T) - log_volume


def total_correlation(
    conformation: Tensor,
    inference: Inference,
    dataset_size: int,
    sampling: _Sampling = "stratified",
) -> Tensor:
    """Estimates KL(q(z) ‖ Π_k q(z_k)), q(z) the mixture of the data set's posteriors.

    Args:
        conformation: A sample of each posterior, shape (B, Z).
        inference: The posteriors, (B, Z).
        dataset_size: Number N of particles of the whole data set.
        sampling: How the batch stands for the data set: minibatch-``weighted``, biased but smooth,
            or minibatch-``stratified``, each sample's own posterior counting 1 / N.

    Returns:
        Mean over the batch in nats, a scalar.

    Raises:
        ValueError: If the batch is of one particle or larger than the data set.

    References:
        Chen et al. 2018, Isolating sources of disentanglement in VAEs, Eq. 2 and Appendix C.
    """
    count = len(conformation)
    if not 2 <= count <= dataset_size:
        raise ValueError(
            "a total correlation needs batches of at least 2 particles and at most dataset_size, "
            f"found {count} particles and dataset_size={dataset_size}"
        )
    log_variance = inference.log_variance[None]
    difference = conformation[:, None] - inference.mean[None]
    # Rows are samples i, columns posteriors j.
    squared = difference.square()
    density = -0.5 * (math.log(2 * math.pi) + log_variance + squared * torch.exp(-log_variance))
    weights = _log_weights(count, dataset_size, sampling, density)
    together = density.sum(-1)
    if inference.scale_tril is not None:
        together = _full_density(difference, inference.scale_tril)
    joint = torch.logsumexp(weights + together, dim=1)
    marginals = torch.logsumexp(weights[..., None] + density, dim=1).sum(-1)
    return (joint - marginals).mean()


class TotalCorrelation(ScheduledPenalty):
    """Penalty of β-TCVAE: coordinates of the aggregate posterior should be independent.

    β-TCVAE is an ELBO with this penalty of weight β - 1 beside a KL term of weight 1. The weight
    is in units of the training loss: `HeterogeneousReconstruction` divides its KL by the number of
    coefficients, so divide β - 1 likewise. Only particles of one process are compared. `terms`:
    ``total_correlation``, in nats.

    Args:
        dataset_size: Number of particles of the whole data set.
        weight: Weight, a number or a schedule.
        sampling: How a batch stands for the data set, see `total_correlation`.
        seed: Seed of the samples from the posteriors.

    Raises:
        ValueError: If the weight is negative or ``dataset_size`` less than 2.

    References:
        Chen et al. 2018, Isolating sources of disentanglement in VAEs.
    """

    def __init__(
        self,
        dataset_size: int,
        weight: float | Schedule = 1.0,
        sampling: _Sampling = "stratified",
        seed: int = 0,
    ) -> None:
        super().__init__(weight, seed=seed)
        if dataset_size < 2:
            raise ValueError(f"dataset_size must be at least 2, found {dataset_size}")
        self.dataset_size = dataset_size
        self.sampling: _Sampling = sampling

    @in_python
    def _weighted(
        self,
        weight: float,
        model: LatentImageModel,  # noqa: ARG002
        batch: ParticleBatch,  # noqa: ARG002
        inference: Inference,
    ) -> Tensor:
        sample = sample_posterior(inference, self.draws.generator(inference.mean.device))
        found = total_correlation(sample, inference, self.dataset_size, self.sampling)
        self.terms = {"total_correlation": found.detach()}
        return weight * found
