"""FactorVAE score: whether a majority of votes finds which factor a batch shares."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._fixed_factors import (
    DrawFactors,
    Encode,
    Interventions,
    Simulated,
    choose_factors,
    divide_codes,
)
from cryo_disentangle.metrics.functional.codes import Array, check_columns, constant_columns

__all__ = [
    "active_variances",
    "factor_vae_accuracy",
    "factor_vae_score",
    "factor_vae_score_from_codes",
    "factor_vae_votes",
]

# Samples that the global variances of made latents are measured on (disentanglement_lib's number).
_VARIANCE_SAMPLES = 10_000


def active_variances(z: Array, *, threshold: float = 0.0) -> Tensor:
    """Variances of the latents that take part in the FactorVAE score.

    Args:
        z: Latents, shape (N, K).
        threshold: Latents whose standard deviation is at most so many times the largest one take
            no part. Constant latents never do.

    Returns:
        Variance (1/(N - 1)) of each latent, 0 for those left out, shape (K,), float64.
    """
    codes = check_columns(z, "z")
    deviations = codes.std(0)
    inactive = constant_columns(codes) | (deviations <= threshold * deviations.max())
    return deviations.square().masked_fill(inactive, 0.0)


def factor_vae_votes(z: Tensor, index: Tensor, variances: Tensor, factors: int) -> Tensor:
    """Counts which latent varies least, relative to its variance, when a factor is fixed.

    Args:
        z: Latents of batches that share the value of one factor, shape (P, L, K).
        index: Which factor each batch shares, shape (P,), integers.
        variances: Variances over all samples, 0 for latents without a vote (`active_variances`),
            shape (K,).
        factors: Number of factors D.

    Returns:
        Votes, shape (D, K), int64, on the device of ``z``; none where no latent is active.

    Raises:
        ValueError: If ``z`` is not of batches of two samples or more.
    """
    codes = z.detach().double()
    if codes.ndim != 3 or codes.shape[1] < 2:
        raise ValueError(
            f"z must have shape (points, batch of at least 2, latents), got {tuple(codes.shape)}"
        )
    latents = codes.shape[-1]
    active = variances.to(codes.device) > 0
    votes = torch.zeros(factors * latents, dtype=torch.int64, device=codes.device)
    if active.any():
        ratio = codes.var(1) / variances.to(codes.device)
        stillest = ratio.masked_fill(~active, torch.inf).argmin(1)
        votes += torch.bincount(index.to(codes.device) * latents + stillest, minlength=len(votes))
    return votes.view(factors, latents)


def factor_vae_accuracy(votes_train: Tensor, votes_test: Tensor) -> Tensor:
    """Computes the accuracy of the majority vote for the fixed factor.

    Args:
        votes_train: Votes that settle each latent's factor, shape (D, K).
        votes_test: Votes to judge by, shape (D, K).

    Returns:
        Accuracy in [0, 1], scalar, float64; 0 without test votes.

    References:
        Kim and Mnih, Disentangling by factorising, ICML 2018, section 4.
    """
    majority = votes_train.argmax(0, keepdim=True)
    return votes_test.gather(0, majority).sum().double() / votes_test.sum().clamp(min=1)


def factor_vae_score(
    encode: Encode,
    draw_factors: DrawFactors,
    *,
    train_points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    threshold: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """FactorVAE score with interventions: whether each factor, when fixed, stills a latent.

    One point: a factor drawn uniformly; ``batch`` samples that share its value; a vote for the
    latent whose variance in the batch, relative to that over all samples, is least
    (`factor_vae_votes`). The score is the accuracy of the majority vote on new points.

    The cost is that of ``encode`` on batch · (train_points + test_points) samples.

    Edge cases: constant latents don't vote, and if all are constant the score is 0, as in
    disentanglement_lib; noise scores about 1/D; one factor scores 1; equal factors share their
    latents' votes and lower the score, as do latents fewer than factors. Equal latents cost
    nothing. A rotation by less than 45° scores 1.

    Args:
        encode: Latents of samples with given factors, (N, D) to (N, K).
        draw_factors: Draws the factors of independent samples, ``(count, generator)`` to
            (count, D).
        train_points: Interventions that settle each latent's factor.
        test_points: Interventions to judge by.
        batch: Samples of an intervention.
        threshold: See `active_variances`; relative, so that the latents' common scale is free.
        seed: Seeds factors and interventions.

    Returns:
        Scalar, float64, about 1/D (chance) to 1.

    Raises:
        ValueError: If latents are not finite, or not one row a sample.

    References:
        Kim and Mnih, Disentangling by factorising, ICML 2018, section 4.
    """
    source = Simulated(encode, draw_factors, seed)
    drawn = source.encode(source.draw(_VARIANCE_SAMPLES))
    variances = active_variances(drawn, threshold=threshold)
    train, test = (
        _votes(source, points, batch, variances) for points in (train_points, test_points)
    )
    return factor_vae_accuracy(train, test)


def factor_vae_score_from_codes(
    z: Array,
    factors: Array,
    *,
    bins: int = 20,
    train_points: int = 2_000,
    test_points: int = 1_000,
    batch: int = 64,
    threshold: float = 0.0,
    seed: int = 0,
) -> Tensor:
    """FactorVAE score of stored latents: samples in one bin of a factor pass for sharing its value.

    As `factor_vae_score`, with batches drawn, with replacement, from one of ``bins`` equally filled
    bins of the fixed factor. Two thirds of the rows serve to learn, the rest to judge. Factors that
    depend on each other stay so within the batches, and lower the score.

    Edge cases: as `factor_vae_score`. A constant factor has one bin, and fixing it does nothing.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Bins of a factor; fewer if a bin would hold less than 6 samples. A factor of no more
            distinct values keeps them.
        train_points: Interventions that settle each latent's factor.
        test_points: Interventions to judge by.
        batch: Samples of an intervention.
        threshold: See `active_variances`.
        seed: Seeds the division of rows and the interventions.

    Returns:
        Scalar, float64, about 1/D (chance) to 1.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or fewer than 12.

    References:
        Kim and Mnih, Disentangling by factorising, ICML 2018; Zaidi et al., Measuring
        disentanglement: a review of metrics, 2020 (Z-min variance on stored latents).
    """
    variances = active_variances(z, threshold=threshold)
    fit, judge = divide_codes(z, factors, bins=bins, seed=seed)
    train = _votes(fit, train_points, batch, variances)
    test = _votes(judge, test_points, batch, variances)
    return factor_vae_accuracy(train, test)


def _votes(source: Interventions, points: int, batch: int, variances: Tensor) -> Tensor:
    """Votes (D, K) of the FactorVAE score."""
    parts = [
        factor_vae_votes(source.batches(index, batch), index, variances, source.factors)
        for index in choose_factors(source, points, batch)
    ]
    return torch.stack(parts).sum(0)
