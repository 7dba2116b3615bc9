"""How well one set of columns predicts another on rows that were not seen."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import split_rows

__all__ = ["Split", "deal_rows", "linear_predictions", "nonlinear_predictions", "r_squared"]

# More rows change the third digit of a score, and double its time.
_MOST_ROWS = 10_000
_FEATURES = 384
# Widths of the kernel in standard deviations of the inputs.
_WIDTHS = (0.45, 1.2)
_RIDGES = (1e-6, 1e-4, 1e-2)


class Split(NamedTuple):
    """Disjoint row numbers.

    Attributes:
        train: Rows to fit, shape (N / 2,).
        validation: Rows to choose settings by, shape (N / 6,).
        test: Rows held out, shape (N / 3,).
    """

    train: Tensor
    validation: Tensor
    test: Tensor


def deal_rows(count: int, *, seed: int, device: torch.device) -> Split:
    """Deals rows out at random; of more than 10,000, that many are drawn.

    Args:
        count: Number of rows.
        seed: Of the draw.
        device: Where the row numbers are needed.

    Returns:
        The row numbers.
    """
    seen, test = split_rows(count, seed=seed, largest=_MOST_ROWS)
    train, validation = seen[: len(seen) * 3 // 4], seen[len(seen) * 3 // 4 :]
    return Split(train.to(device), validation.to(device), test.to(device))


def linear_predictions(x: Tensor, y: Tensor, split: Split) -> Tensor:
    """Predicts held-out rows by least squares.

    Args:
        x: Inputs, shape (N, C), float64.
        y: Targets, shape (N, D), float64.
        split: Rows to fit and to predict.

    Returns:
        Predictions of ``split.test``, shape (T, D).
    """
    seen = torch.cat([split.train, split.validation])
    x = _scaled(x, seen)
    offset = y[seen].mean(0)
    # Rank-deficient inputs (entries of a rotation, constant columns) take the smallest solution.
    weights = torch.linalg.pinv(x[seen], rtol=1e-9) @ (y[seen] - offset)
    return x[split.test] @ weights + offset


def nonlinear_predictions(x: Tensor, y: Tensor, split: Split, *, seed: int) -> Tensor:
    """Predicts held-out rows by ridge regression on random Fourier features.

    Approximates kernel ridge regression with a Gaussian kernel; the inputs themselves are among
    the features. For each target, the kernel's width and the ridge are those with the smallest
    error on the validation rows.

    Args:
        x: Inputs, shape (N, C), float64.
        y: Targets, shape (N, D), float64.
        split: Rows to fit, to choose and to predict.
        seed: Of the features.

    Returns:
        Predictions of ``split.test``, shape (T, D).

    References:
        Rahimi and Recht 2007, Random features for large-scale kernel machines, Algorithm 1.
    """
    x = _scaled(x, split.train)
    offset = y[split.train].mean(0)
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(x.shape[1], _FEATURES, generator=generator, dtype=x.dtype).to(x)
    phases = (2 * math.pi * torch.rand(_FEATURES, generator=generator, dtype=x.dtype)).to(x)

    best = torch.full_like(offset, torch.inf)
    predictions = offset.repeat(len(split.test), 1)
    for width in _WIDTHS:
        frequencies = directions / (width * math.sqrt(x.shape[1]))
        train, validation, test = (_features(x[rows], frequencies, phases) for rows in split)
        weights = _ridge(train, y[split.train] - offset)
        error = (validation @ weights + offset - y[split.validation]).square().mean(1)
        candidates = test @ weights + offset
        for ridge in range(len(_RIDGES)):
            better = error[ridge] < best
            best = torch.where(better, error[ridge], best)
            predictions = torch.where(better, candidates[ridge], predictions)
    return predictions


def r_squared(y: Tensor, predicted: Tensor) -> Tensor:
    """Share of each target's variance that is predicted.

    Args:
        y: Held-out targets, shape (T, D).
        predicted: Their predictions, shape (T, D).

    Returns:
        max(0, 1 - Σ(y - predicted)² / Σ(y - mean)²), shape (D,): a prediction worse than the mean
        counts as none, and so does any of a constant.
    """
    total = (y - y.mean(0)).square().sum(0)
    constant = total <= 1e-24 * y.square().sum(0)
    share = 1 - (y - predicted).square().sum(0) / total.masked_fill(constant, 1.0)
    return share.clamp(min=0).masked_fill(constant, 0.0)


def _scaled(x: Tensor, rows: Tensor) -> Tensor:
    """Columns with mean 0 and variance 1 on the rows, constant ones zero."""
    centred = x - x[rows].mean(0)
    scale = x[rows].std(0, correction=0)
    constant = scale <= 1e-12 * x[rows].abs().amax(0)
    return (centred / scale.masked_fill(constant, 1.0)).masked_fill(constant, 0.0)


def _features(x: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    # Random phases need few digits, and a cosine of float32 takes a third of the time.
    waves = math.sqrt(2) * torch.cos((x @ frequencies + phases).float())
    return torch.cat([torch.ones_like(x[:, :1]), x, waves.to(x)], 1)


def _ridge(features: Tensor, targets: Tensor) -> Tensor:
    """Weights for every ridge, shape (ridges, features, D)."""
    gram = features.T @ features / len(features)
    ridges = torch.tensor(_RIDGES, dtype=gram.dtype, device=gram.device)
    eye = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor = torch.linalg.cholesky(gram + ridges[:, None, None] * eye)
    moments = features.T @ targets / len(features)
    return torch.cholesky_solve(moments.expand(len(ridges), -1, -1), factor)
