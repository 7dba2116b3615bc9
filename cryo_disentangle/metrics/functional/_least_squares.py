"""Least squares that stand constant and collinear columns, and their held-out R²."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import constant_columns, standardize

__all__ = ["fit_predict", "held_out_r2", "whiten"]

# Directions of a standardised design with less variance than this, relative to the largest, are
# collinearity: float32 leaves 1e-14.
_COLLINEAR = 1e-11


def whiten(x: Tensor) -> Tensor:
    """Finds uncorrelated directions of unit variance.

    Args:
        x: Standardised columns, shape (N, P); constant columns 0.

    Returns:
        Map W, shape (P, rank), such that x W has the identity for covariance (1/N).
    """
    variances, directions = torch.linalg.eigh(x.T @ x / len(x))
    kept = variances > _COLLINEAR * variances[-1].clamp(min=_COLLINEAR)
    return directions[:, kept] / variances[kept].sqrt()


def fit_predict(x: Tensor, y: Tensor, new: Tensor) -> Tensor:
    """Fits y = a + x b by least squares and predicts for new rows.

    Args:
        x: Design to fit on, shape (N, P).
        y: Targets to fit, shape (N, D).
        new: Design to predict for, shape (M, P).

    Returns:
        Predictions, shape (M, D).
    """
    centre = x.mean(0)
    scale = x.std(0, correction=0).masked_fill(constant_columns(x), torch.inf)
    basis = whiten(standardize(x))
    mean = y.mean(0)
    slopes = basis.T @ ((x - centre) / scale).T @ (y - mean) / len(x)
    return mean + (new - centre) / scale @ (basis @ slopes)


def held_out_r2(predicted: Tensor, true: Tensor) -> Tensor:
    """Coefficient of determination of predictions.

    R² = 1 - Σ(f - f̂)² / Σ(f - mean f)².

    Args:
        predicted: f̂, shape (M, D).
        true: f, shape (M, D).

    Returns:
        Shape (D,), at most 1, below 0 where the mean would have predicted better; 0 where ``true``
        is constant.
    """
    residual = (true - predicted).square().sum(0)
    total = (true - true.mean(0)).square().sum(0)
    constant = constant_columns(true)
    return (1 - residual / total.masked_fill(constant, 1.0)).masked_fill(constant, 0.0)
