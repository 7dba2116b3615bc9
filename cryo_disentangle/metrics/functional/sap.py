"""Separated attribute predictability."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.binning import classes
from cryo_disentangle.metrics.functional.codes import Array, check_codes, split_rows
from cryo_disentangle.metrics.functional.correlation import pearson_matrix

__all__ = ["sap"]


def sap(
    z: Array,
    factors: Array,
    *,
    reference: bool = False,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
) -> Tensor:
    """Separated attribute predictability.

    SAP = mean over factors j of S_first,j - S_second,j, first and second being the two latents
    that predict f_j best, with S = squared Pearson correlation (R² of a linear fit).

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        reference: disentanglement_lib's form for classes: S is the held-out accuracy of a linear
            support vector machine on one latent (C = 0.01, balanced classes). Every distinct value
            of a factor is a class; with many classes it is near 0 for a perfect code.
        seed: Seeds division of samples and solver; read by the reference form only.
        test_fraction: Share of samples held out; read by the reference form only.
        n_train: Fit on the first ``n_train`` samples and score the others, without chance; read by
            the reference form only.

    Returns:
        Scalar in [0, 1]; 1 where each factor is linear in one latent and no other latent correlates
        with it.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or fewer than two
            samples would remain to fit or to score, or the samples to fit show one class only.

    Edge cases: a constant latent predicts 0 (in the reference form: as well as the most frequent
    guess) and a single latent has a second of 0; constant factors contribute 0; duplicate latents
    give 0; duplicate factors are no fault; K < D costs the factors that are not coded.

    References:
        Kumar, Sattigeri and Balakrishnan 2018, Variational inference of disentangled latent
        concepts, Section 3.
    """
    if reference:
        latents, truth = check_codes(z, factors, minimum=4)
        fit, score = split_rows(
            len(latents), seed=seed, test_fraction=test_fraction, n_train=n_train
        )
        scores = _accuracies(latents, classes(truth, "factors"), (fit, score), seed)
    else:
        scores = pearson_matrix(z, factors).square()
    top = torch.cat([scores, torch.zeros_like(scores[:1])]).topk(2, dim=0).values
    return (top[0] - top[1]).mean()


def _accuracies(latents: Tensor, labels: Tensor, split: tuple[Tensor, Tensor], seed: int) -> Tensor:
    """Held-out accuracy of each latent for each factor, shape (K, D)."""
    # Slow to import and needed here alone.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    fit, score = (rows.numpy() for rows in split)
    x, y = latents.cpu().numpy(), labels.cpu().numpy()
    accuracy = np.zeros((x.shape[1], y.shape[1]))
    for j in range(y.shape[1]):
        if len(np.unique(y[fit, j])) < 2:
            raise ValueError(f"factor {j} must show 2 classes or more among the samples to fit")
        for i in range(x.shape[1]):
            machine = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                machine.fit(x[fit, i : i + 1], y[fit, j])
            accuracy[i, j] = machine.score(x[score, i : i + 1], y[score, j])
    return torch.from_numpy(accuracy).to(latents.device)
