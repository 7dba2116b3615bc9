"""DCI: disentanglement, completeness and informativeness by a regression's importances."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._boosting import boosted_regression
from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_codes,
    integer_labels,
    split_rows,
    standardize,
)

__all__ = ["DCIScores", "dci"]

# Of more rows a random subset of this size is measured: importances have settled long before.
_LARGEST_SAMPLE = 100_000
# A factor counts as predicted if the held-out error falls by more than so many standard errors.
_STANDARD_ERRORS = 2.0


class DCIScores(NamedTuple):
    """The three scores and what they are made of.

    All scores are scalars.

    Attributes:
        disentanglement: Whether each latent encodes one factor only, in [0, 1].
        completeness: Whether each factor is encoded by one latent only, in [0, 1].
        informativeness: How well the latents predict the factors, in [0, 1].
        importance: Importance of each latent for each factor, shape (K, D).
    """

    disentanglement: Tensor
    completeness: Tensor
    informativeness: Tensor
    importance: Tensor


def dci(
    z: Array,
    factors: Array,
    *,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    reference: bool = False,
    n_train: int | None = None,
) -> DCIScores:
    """Disentanglement, completeness and informativeness (DCI).

    Boosted trees predict each factor j from all latents; P_ij ≥ 0 is the importance of latent i,
    the share of the fall in squared error won by splits on it, times the factor's held-out R²
    (at least 0). With column and row shares P_ij / Σ_i P_ij and P_ij / Σ_j P_ij::

        disentanglement = Σ_i (Σ_j P_ij / Σ P) (1 − H_D(row shares of latent i))
        completeness    = Σ_j (Σ_i P_ij / Σ P) (1 − H_K(column shares of factor j))
        informativeness = mean over factors of max(R², 0)

    H_D is the entropy in base D. Higher is better, 1 is the maximum of each. A factor whose
    held-out squared error does not fall by more than two standard errors has R² = 0, because the
    importances of a probe that learned nothing are those of noise.

    Only the order of each latent matters. The work is done on the CPU in float64, on at most
    100,000 random rows, and gives the same numbers for the same seed.

    Edge cases: constant latents have importance 0; if nothing is predicted (constant latents,
    noise, constant factors, fewer than some 60 samples) all scores are 0. With one factor
    disentanglement is 1 if anything is predicted, likewise completeness with one latent. Of two
    equal latents the first gets the importance, so that completeness does not see the copy. Two
    equal factors on one latent give that latent's row two entries and lower disentanglement. With
    fewer latents than factors completeness and disentanglement rate the factors that are told.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D); with ``reference`` integer labels.
        seed: Draws the test rows (and the reference's tree seeds).
        test_fraction: Share of rows held out, in (0, 1).
        reference: If true, the form of disentanglement_lib: one classifier a factor (scikit-learn's
            GradientBoostingClassifier on raw latents), impurity importances, informativeness is
            the mean test accuracy. Slow: minutes for 10,000 rows with 20 classes.
        n_train: If given, the first so many rows train and all the others test.

    Returns:
        The scores, 0-d float64, and the importances, on the device of ``z``. The reference's
        importances are not weighted, each column sums to 1.

    Raises:
        ValueError: If the inputs are not finite columns of equal length, the split leaves no rows
            to train or test, or the reference's factors are no integers.

    References:
        Eastwood and Williams, A framework for the quantitative evaluation of disentangled
        representations, ICLR 2018, equations 1-4; Locatello et al., ICML 2019 (reference form).
    """
    latents, truth = check_codes(z, factors, minimum=4)
    device = latents.device
    latents, truth = latents.cpu(), truth.cpu()
    train, test = split_rows(
        len(latents),
        seed=seed,
        test_fraction=test_fraction,
        n_train=n_train,
        largest=_LARGEST_SAMPLE,
    )
    if reference:
        importance, informativeness = _classifiers(latents, truth, train, test, seed)
    else:
        importance, informativeness = _boosted(latents, truth, train, test)
    scores = DCIScores(
        disentanglement=_concentration(importance),
        completeness=_concentration(importance.T),
        informativeness=informativeness,
        importance=importance,
    )
    return DCIScores(*(score.to(device) for score in scores))


def _boosted(z: Tensor, factors: Tensor, train: Tensor, test: Tensor) -> tuple[Tensor, Tensor]:
    """Gain shares times held-out R², and the mean of R²."""
    latents, truth = standardize(z), standardize(factors)
    fitted = boosted_regression(latents[train], truth[train], latents[test])
    r2 = _held_out_r2(fitted.prediction, truth[test])
    return fitted.gain * r2, r2.mean()


def _held_out_r2(prediction: Tensor, truth: Tensor) -> Tensor:
    """R² of each column, 0 where it is not significantly above 0."""
    spread = (truth - truth.mean(0)).square()
    fall = spread - (truth - prediction).square()
    noise = fall.std(0, correction=0) / math.sqrt(len(fall))
    predicted = fall.mean(0) > _STANDARD_ERRORS * noise
    return torch.where(predicted, fall.sum(0) / spread.sum(0), 0.0)


def _classifiers(
    z: Tensor, factors: Tensor, train: Tensor, test: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Importances and mean test accuracy of one boosted classifier a factor."""
    from sklearn.ensemble import GradientBoostingClassifier

    labels = integer_labels(factors)
    importances, accuracies = [], []
    for target in labels.T:
        model = GradientBoostingClassifier(random_state=seed)
        model.fit(z[train].numpy(), target[train].numpy())
        # Rounding leaves some a little below 0, of which the entropy would be NaN.
        importances.append(torch.from_numpy(model.feature_importances_).clamp(min=0))
        accuracies.append(model.score(z[test].numpy(), target[test].numpy()))
    accuracy = torch.tensor(accuracies, dtype=torch.float64).mean()
    return torch.stack(importances, dim=1), accuracy


def _concentration(importance: Tensor) -> Tensor:
    """Mean of 1 - entropy (base: the columns' number) of the rows, weighted by their mass."""
    mass = importance.sum(1)
    total = mass.sum()
    columns = importance.shape[1]
    if total <= 0:
        return torch.zeros((), dtype=torch.float64)
    if columns == 1:
        return torch.ones((), dtype=torch.float64)
    shares = torch.where(mass[:, None] > 0, importance / mass[:, None], 0.0)
    entropy = -torch.special.xlogy(shares, shares).sum(1) / math.log(columns)
    return (mass / total * (1 - entropy)).sum()
