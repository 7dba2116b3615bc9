"""Explicitness."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.binning import classes
from cryo_disentangle.metrics.functional.codes import (
    Array,
    average_ranks,
    check_codes,
    constant_columns,
    split_rows,
)
from cryo_disentangle.metrics.functional.correlation import r2_linear

__all__ = ["explicitness"]


def explicitness(
    z: Array,
    factors: Array,
    *,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
    reference: bool = False,
) -> Tensor:
    """Explicitness: how easily the factors are read from all latents together.

    For continuous factors the held-out R² of a linear map: `r2_linear`.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        seed: Seeds the division of samples.
        test_fraction: Share of samples held out.
        n_train: Fit on the first ``n_train`` samples and score the others, without a random split.
        reference: disentanglement_lib's form for classes: area under the ROC curve of a logistic
            regression on standardised latents, one class against the others, mean over classes
            and factors. Every distinct value of a factor is a class.

    Returns:
        Scalar at most 1, and about 0 for noise; the reference's lies in [0, 1], 0.5 for noise.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, fewer than two samples
            would remain to fit or to score, or (reference) the samples to fit show one class only.

    Edge cases: as `r2_linear`. The reference form leaves out classes that the samples to fit or
    to score lack (disentanglement_lib fails there); a factor with no class left scores 0.5.

    References:
        Ridgeway and Mozer 2018, Learning deep disentangled embeddings, Section 2.
    """
    if not reference:
        return r2_linear(z, factors, seed=seed, test_fraction=test_fraction, n_train=n_train)
    latents, truth = check_codes(z, factors, minimum=4)
    fit, score = split_rows(len(latents), seed=seed, test_fraction=test_fraction, n_train=n_train)
    deviation = latents[fit].std(0, correction=0)
    deviation = deviation.masked_fill(constant_columns(latents[fit]), torch.inf)
    scaled = ((latents - latents[fit].mean(0)) / deviation).cpu()
    labels = classes(truth, "factors").cpu()
    areas = [_area(scaled[fit], y[fit], scaled[score], y[score]) for y in labels.T]
    return torch.tensor(areas, dtype=torch.float64, device=latents.device).mean()


def _area(x: Tensor, y: Tensor, new_x: Tensor, new_y: Tensor) -> float:
    """Mean area under the ROC curves of the classes on new samples."""
    # Slow to import and needed here alone.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    if len(y.unique()) < 2:
        raise ValueError("a factor must show 2 classes or more among the samples to fit")
    model = LogisticRegression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(x.numpy(), y.numpy())
    ranks = average_ranks(torch.from_numpy(model.predict_proba(new_x.numpy()))).numpy()
    member = new_y.numpy()[:, None] == model.classes_
    inside = member.sum(0)
    outside = len(member) - inside
    present = (inside > 0) & (outside > 0)
    if not present.any():
        return 0.5
    # Mann and Whitney's U over the number of pairs.
    wins = (ranks * member).sum(0) - inside * (inside + 1) / 2
    return float(np.mean(wins[present] / (inside * outside)[present]))
