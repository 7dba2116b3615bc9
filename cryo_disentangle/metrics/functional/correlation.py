"""Metrics of correlation between latents and factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from cryo_disentangle.metrics.functional._least_squares import fit_predict, held_out_r2, whiten
from cryo_disentangle.metrics.functional.circular import circular_linear_r2, fisher_lee
from cryo_disentangle.metrics.functional.codes import (
    Array,
    average_ranks,
    check_codes,
    constant_columns,
    split_rows,
    standardize,
)

__all__ = [
    "matching",
    "mcc",
    "mean_canonical_correlation",
    "pearson_matrix",
    "r2_linear",
    "spearman_matrix",
    "spline_mcc",
]


def pearson_matrix(z: Array, factors: Array) -> Tensor:
    """Pearson correlation of all latents with all factors.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).

    Returns:
        Shape (K, D), float64, in [-1, 1]; 0 where a column is constant.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.
    """
    return _correlate(*check_codes(z, factors))


def spearman_matrix(z: Array, factors: Array) -> Tensor:
    """Spearman's rank correlation of all latents with all factors; ties share their mean rank.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).

    Returns:
        Shape (K, D), float64, in [-1, 1]; 0 where a column is constant.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.
    """
    latents, truth = check_codes(z, factors)
    return _correlate(average_ranks(latents), average_ranks(truth))


def _correlate(x: Tensor, y: Tensor) -> Tensor:
    """Correlation of all columns of x (N, K) with all of y (N, D)."""
    return (standardize(x).T @ standardize(y) / len(x)).clamp(-1, 1)


_MATRICES = {"pearson": pearson_matrix, "spearman": spearman_matrix}


def matching(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Assigns latents to factors one to one, so that the sum of their scores is greatest.

    Args:
        matrix: Scores, shape (K, D), finite.

    Returns:
        Rows (latents) and columns (factors) of the min(K, D) pairs, int64.
    """
    rows, columns = linear_sum_assignment(matrix.detach().cpu().numpy(), maximize=True)
    return (
        torch.from_numpy(rows.astype(np.int64)).to(matrix.device),
        torch.from_numpy(columns.astype(np.int64)).to(matrix.device),
    )


def _matched_mean(matrix: Tensor) -> Tensor:
    """Sum of the matched scores over the number of factors."""
    return matrix[matching(matrix)].sum() / matrix.shape[1]


def mcc(
    z: Array,
    factors: Array,
    *,
    correlation: Literal["pearson", "spearman"] = "pearson",
    circular: Sequence[int] = (),
    circular_latents: Sequence[int] = (),
) -> Tensor:
    """Mean correlation coefficient.

    MCC = max over one-to-one assignments π of Σ_j |corr(z_π(j), f_j)| / D. A pair with an angle
    uses √R² of `circular_linear_r2`, or |ρ_T| of `fisher_lee` if both are angles, for either
    ``correlation``.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        correlation: Pearson (linear) or Spearman (monotone).
        circular: Which factors are angles in radians.
        circular_latents: Which latents are angles in radians.

    Returns:
        Scalar in [0, 1]; 1 where each factor has a latent of its own that follows it.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, there is no such
            correlation, or an angle is no column.

    Edge cases: constant latents and factors correlate 0; with K < D the factors without a latent
    count 0; unused and duplicate latents cost nothing; duplicate factors need as many latents;
    N = 2 gives ±1 for anything.

    References:
        Hyvarinen and Morioka 2016, Unsupervised feature extraction by time-contrastive learning.
        Klindt et al. 2020, Towards nonlinear disentanglement with temporal sparse coding.
    """
    latents, truth = check_codes(z, factors)
    if correlation not in _MATRICES:
        raise ValueError(f"correlation must be one of {list(_MATRICES)}, got {correlation!r}")
    scores = _MATRICES[correlation](latents, truth).abs()
    _score_angles(scores, latents, truth, (list(circular_latents), list(circular)))
    return _matched_mean(scores)


def _score_angles(
    scores: Tensor, latents: Tensor, truth: Tensor, angles: tuple[list[int], list[int]]
) -> None:
    """Replaces the scores (K, D) of pairs with an angle: given latents, given factors."""
    rows, columns = angles
    for name, given, x in (("circular_latents", rows, latents), ("circular", columns, truth)):
        if any(not 0 <= i < x.shape[1] for i in given):
            raise ValueError(f"{name} must name columns 0 to {x.shape[1] - 1}, got {given}")
    if columns:
        scores[:, columns] = circular_linear_r2(latents, truth[:, columns]).sqrt()
    if rows:
        scores[rows] = circular_linear_r2(truth, latents[:, rows]).sqrt().T
    if rows and columns:
        both = fisher_lee(latents[:, rows], truth[:, columns]).abs()
        scores[torch.tensor(rows)[:, None], torch.tensor(columns)] = both


def r2_linear(
    z: Array,
    factors: Array,
    *,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
) -> Tensor:
    """Computes R² of a linear map of all latents to the factors on held-out samples.

    Mean over factors of R² = 1 - Σ(f - f̂)² / Σ(f - mean f)², f̂ by ordinary least squares. It is
    invariant to rotation and scaling of the latents: a low MCC with a high R² means latents that
    are right up to a linear map; if both are low, the factors are lost.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        seed: Seeds the division of samples.
        test_fraction: Share of samples held out.
        n_train: Fit on the first ``n_train`` samples and score the others, without a random split.

    Returns:
        Scalar, at most 1; about 0, or slightly below, if the latents contain no information.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or fewer than two
            samples would remain to fit or to score.

    Edge cases: constant latents alone give 0, constant factors contribute 0, collinear latents
    count once, duplicate factors count twice, K < D lowers the score; with fewer samples than
    latents the score may fall far below 0.
    """
    latents, truth = check_codes(z, factors, minimum=4)
    fit, score = split_rows(len(latents), seed=seed, test_fraction=test_fraction, n_train=n_train)
    if bool(constant_columns(latents[fit]).all()):
        # The mean of the samples to fit is not that of the samples to score: R² would be below 0.
        return latents.new_zeros(())
    predicted = fit_predict(latents[fit], truth[fit], latents[score])
    return held_out_r2(predicted, truth[score]).mean()


def mean_canonical_correlation(z: Array, factors: Array) -> Tensor:
    """Mean canonical correlation: MCC up to linear maps of latents and of factors.

    Sum of the canonical correlations of z and f over D.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).

    Returns:
        Scalar in [0, 1]. It is fitted and scored on the same samples: noise gives about
        √(K/N) or more, never 0.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    Edge cases: constant and collinear columns of z add nothing; collinear, duplicate and constant
    factors and K < D cost what can't be matched one to one; with N <= K everything is 1.

    References:
        Khemakhem et al. 2020, ICE-BeeM, weak identifiability.
    """
    latents, truth = (standardize(x) for x in check_codes(z, factors))
    joint = whiten(latents).T @ (latents.T @ truth / len(latents)) @ whiten(truth)
    return torch.linalg.svdvals(joint).clamp(max=1).sum() / truth.shape[1]


def spline_mcc(
    z: Array,
    factors: Array,
    *,
    knots: int = 8,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
) -> Tensor:
    """MCC that allows for nonlinear latents: each factor is predicted from one latent by a spline.

    Pairs score √max(R², 0), R² on held-out samples of the least squares fit of f_j by a natural
    cubic spline of z_i; then as `mcc`. The latent is first replaced by the normal scores of its
    ranks, so monotone maps of it do not matter. The score is directional: f² can be predicted from
    f, but not f from f².

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        knots: Number of knots, at least 3.
        seed: Seeds the division of samples.
        test_fraction: Share of samples held out.
        n_train: Fit on the first ``n_train`` samples and score the others, without a random split.

    Returns:
        Scalar in [0, 1]; near 1 where each factor is a smooth function of a latent of its own.

    Raises:
        ValueError: If ``knots`` is less than 3, the arrays are no finite columns of the same
            samples, or fewer than two samples would remain to fit or to score.

    Edge cases: as `mcc`; pairs whose fit predicts worse than the mean count 0, so noise, and fewer
    samples than knots, give about 0.
    """
    if knots < 3:
        raise ValueError(f"a natural spline needs at least 3 knots, got {knots}")
    latents, truth = check_codes(z, factors, minimum=4)
    fit, score = split_rows(len(latents), seed=seed, test_fraction=test_fraction, n_train=n_train)
    rows = []
    for latent in _normal_scores(latents).T:
        basis = _natural_spline(latent, knots)
        predicted = fit_predict(basis[fit], truth[fit], basis[score])
        rows.append(held_out_r2(predicted, truth[score]).clamp(0, 1).sqrt())
    return _matched_mean(torch.stack(rows))


def _normal_scores(x: Tensor) -> Tensor:
    """Quantiles of the standard normal at every column's ranks; shape (N, C)."""
    return torch.special.ndtri((average_ranks(x) - 0.5) / len(x))


def _natural_spline(x: Tensor, knots: int) -> Tensor:
    """Basis (N, knots - 1) of cubic splines of x (N,) that are linear beyond the outer knots.

    Truncated powers (Hastie, Tibshirani and Friedman 2009, Eq. 5.4 and 5.5) without the constant.
    """
    # Ten samples or more beyond the outer knots hold the straight ends down.
    tail = torch.tensor(1 - min(10 / len(x), 0.25), dtype=x.dtype)
    reach = float(torch.special.ndtri(tail))
    at = torch.linspace(-reach, reach, knots, dtype=x.dtype, device=x.device)
    cubes = (x[:, None] - at).clamp(min=0) ** 3
    slopes = (cubes[:, :-1] - cubes[:, -1:]) / (at[-1] - at[:-1])
    return torch.cat([x[:, None], slopes[:, :-1] - slopes[:, -1:]], dim=1)
