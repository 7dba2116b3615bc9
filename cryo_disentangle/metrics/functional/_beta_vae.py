"""BetaVAE score: whether a linear rule finds which factor two samples share."""

from __future__ import annotations

import warnings

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
    "beta_vae_accuracy",
    "beta_vae_features",
    "beta_vae_score",
    "beta_vae_score_from_codes",
]


def beta_vae_features(z1: Tensor, z2: Tensor) -> Tensor:
    """Computes features for the BetaVAE score: mean |z1 - z2| over the pairs of a batch.

    Args:
        z1: Latents of the first members, shape (P, L, K) or (L, K) for one intervention.
        z2: Latents of the second members, which share one factor with the first ones; same shape.

    Returns:
        Shape (P, K) or (K,), float64.

    Raises:
        ValueError: If the shapes differ.
    """
    if z1.shape != z2.shape:
        raise ValueError(
            f"z1 and z2 must have one shape, got {tuple(z1.shape)} and {tuple(z2.shape)}"
        )
    return (z1.detach().double() - z2.detach().double()).abs().mean(-2)


def beta_vae_accuracy(
    features_train: Array,
    labels_train: Tensor,
    features_test: Array,
    labels_test: Tensor,
    *,
    standardize: bool = True,
) -> Tensor:
    """Computes the accuracy of a linear classifier of the fixed factor.

    Args:
        features_train: Shape (P, K).
        labels_train: Which factor was fixed, shape (P,), integers.
        features_test: Shape (Q, K).
        labels_test: Shape (Q,), integers.
        standardize: Whether features are brought to mean 0 and standard deviation 1 of the
            training set. The reference does not, and its score depends on the latents' scales.

    Returns:
        Accuracy on the test set in [0, 1], scalar. If only one factor was ever fixed, the share of
        test labels that name it: 1 for one factor.

    Raises:
        ValueError: If the features are not finite columns, or labels and features differ in number.

    References:
        Higgins et al., beta-VAE, ICLR 2017, section 4; the classifier is scikit-learn's
        LogisticRegression with its defaults, as in disentanglement_lib.
    """
    train = check_columns(features_train, "features_train", minimum=1)
    test = check_columns(features_test, "features_test", minimum=1)
    for features, labels in ((train, labels_train), (test, labels_test)):
        if len(features) != len(labels):
            raise ValueError(
                f"features and labels must be as many, got {len(features)} and {len(labels)}"
            )
    device = train.device
    if standardize:
        mean = train.mean(0)
        scale = train.std(0, correction=0).masked_fill(constant_columns(train), torch.inf)
        train, test = (train - mean) / scale, (test - mean) / scale
    guess = _classify(train.cpu(), labels_train.cpu(), test.cpu())
    return (guess == labels_test.cpu()).double().mean().to(device)


def _classify(x: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """Labels of new rows by logistic regression."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if (labels == labels[0]).all():
        return labels[:1].expand(len(new))
    with warnings.catch_warnings():
        # Badly scaled features run out of iterations; that is part of the reference's score.
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression().fit(x.numpy(), labels.numpy())
    return torch.from_numpy(model.predict(new.numpy()))


def beta_vae_score(
    encode: Encode,
    draw_factors: DrawFactors,
    *,
    train_points: int = 10_000,
    test_points: int = 5_000,
    batch: int = 64,
    seed: int = 0,
    reference: bool = False,
) -> Tensor:
    """BetaVAE score with interventions: whether fixing a factor stills a fixed set of latents.

    One point: a factor drawn uniformly; ``batch`` pairs of samples that share its value and nothing
    else; `beta_vae_features` of their latents. The score is `beta_vae_accuracy` on new points.

    The cost is that of ``encode`` on 2 · batch · (train_points + test_points) samples.

    Edge cases: constant latents and noise score chance, about 1/D; one factor scores 1; equal
    factors cannot be distinguished and lower the score; latents fewer than factors may still score
    1, because which latents move also identifies a factor. A rotation by less than 45° scores 1
    too.

    Args:
        encode: Latents of samples with given factors, (N, D) to (N, K).
        draw_factors: Draws the factors of independent samples, ``(count, generator)`` to
            (count, D).
        train_points: Interventions that the classifier learns from.
        test_points: Interventions that it is judged by.
        batch: Pairs of an intervention.
        seed: Seeds factors and interventions.
        reference: disentanglement_lib's form: features are not standardised.

    Returns:
        Scalar, float64, about 1/D (chance) to 1.

    Raises:
        ValueError: If latents are not finite, or not one row a sample.

    References:
        Higgins et al., beta-VAE, ICLR 2017, section 4.
    """
    source = Simulated(encode, draw_factors, seed)
    train, test = (_features(source, points, batch) for points in (train_points, test_points))
    return beta_vae_accuracy(*train, *test, standardize=not reference)


def beta_vae_score_from_codes(
    z: Array,
    factors: Array,
    *,
    bins: int = 20,
    train_points: int = 2_000,
    test_points: int = 1_000,
    batch: int = 64,
    seed: int = 0,
) -> Tensor:
    """BetaVAE score of stored latents: samples in one bin of a factor pass for sharing its value.

    As `beta_vae_score`, with pairs of different rows that fall into the same of ``bins`` equally
    filled bins of the fixed factor. Two thirds of the rows serve to learn, the rest to judge.
    Factors that depend on each other stay so within the pairs, and lower the score.

    Edge cases: as `beta_vae_score`. A constant factor has one bin, and fixing it does nothing.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D), continuous or classes.
        bins: Bins of a factor; fewer if a bin would hold less than 6 samples. A factor of no more
            distinct values keeps them.
        train_points: Interventions that the classifier learns from.
        test_points: Interventions that it is judged by.
        batch: Pairs of an intervention.
        seed: Seeds the division of rows and the interventions.

    Returns:
        Scalar, float64, about 1/D (chance) to 1.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or fewer than 12.

    References:
        Higgins et al., beta-VAE, ICLR 2017; Zaidi et al., Measuring disentanglement: a review of
        metrics, 2020 (Z-diff on stored latents).
    """
    fit, judge = divide_codes(z, factors, bins=bins, seed=seed)
    train = _features(fit, train_points, batch)
    test = _features(judge, test_points, batch)
    return beta_vae_accuracy(*train, *test)


def _features(source: Interventions, points: int, batch: int) -> tuple[Tensor, Tensor]:
    """Features (points, K) and labels (points,) of the BetaVAE score."""
    parts = [
        (beta_vae_features(*source.pairs(index, batch)), index)
        for index in choose_factors(source, points, batch)
    ]
    features, labels = zip(*parts, strict=True)
    return torch.cat(features), torch.cat(labels)
