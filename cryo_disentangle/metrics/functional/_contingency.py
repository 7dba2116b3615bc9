"""Counts of labels and of pairs of labels, and the dependence that they show."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Dependence", "compare", "count"]

# Joint tables of at most so many cells, or twice the samples, are laid out; others are sparse.
_CELLS = 1 << 14

# Mutual information below this is rounding (nats).
_ROUNDING = 1e-12

# 1 - 1e-4 quantile of the standard normal: how rarely an empty latent may seem informative.
_EVIDENCE = 3.719


class Dependence(NamedTuple):
    """Mutual information of all pairs of columns in nats, each of shape (K, D)."""

    plug_in: Tensor
    corrected: Tensor  # Miller and Madow, not below 0
    evident: Tensor  # corrected, and 0 where it is within chance


class _Marginal(NamedTuple):
    """Sums over the classes of each column, n samples each; shapes (C,) and (C, classes)."""

    n_log_n: Tensor
    occupied: Tensor
    inverse: Tensor  # 1/n of each class, 0 for those that don't occur


def count(labels: Tensor) -> _Marginal:
    """Counts the classes 0, 1, ... of every column of (N, C)."""
    size = int(labels.max()) + 1
    columns = labels.shape[1]
    offset = torch.arange(columns, device=labels.device) * size
    n = torch.bincount((labels + offset).flatten(), minlength=columns * size)
    n = n.view(columns, size).double()
    return _Marginal(
        torch.xlogy(n, n).sum(1), (n > 0).sum(1).double(), torch.where(n > 0, 1 / n, 0.0)
    )


def compare(a: Tensor, b: Tensor) -> Dependence:
    """Compares all columns of classes ``a`` (N, K) with all columns of ``b`` (N, D)."""
    rows = len(a)
    in_a, in_b = count(a), count(b)
    columns = b.T.contiguous()
    sums = [
        _count_pairs(x, columns, weight, in_b.inverse)
        for x, weight in zip(a.T.contiguous(), in_a.inverse, strict=True)
    ]
    n_log_n, occupied, square = torch.stack(sums, dim=1)
    information = (n_log_n - in_a.n_log_n[:, None] - in_b.n_log_n) / rows + math.log(rows)
    information = torch.where(information > _ROUNDING, information, 0.0)
    bias = (occupied - in_a.occupied[:, None] - in_b.occupied + 1) / (2 * rows)
    corrected = (information - bias).clamp(min=0)
    dependent = rows * (square - 1) > _chance(in_a, in_b, rows)
    return Dependence(information, corrected, torch.where(dependent, corrected, 0.0))


def _count_pairs(a: Tensor, b: Tensor, weight_a: Tensor, weight_b: Tensor) -> Tensor:
    """Sums over the cells of the joint tables of classes ``a`` (N,) with each of ``b`` (D, N).

    Returns:
        Shape (3, D), over the cells: n log n, how many are occupied, and n² / (n_a n_b).
    """
    size_a, size_b = len(weight_a), weight_b.shape[1]
    cells = size_a * size_b
    joint = a * size_b + b
    if cells > max(_CELLS, 2 * len(a)):
        pairs = zip(joint, weight_b, strict=True)
        return torch.stack([_count_sparse(x, weight_a, weight) for x, weight in pairs], dim=1)
    joint += torch.arange(len(b), device=b.device)[:, None] * cells
    n = joint.flatten().bincount(minlength=len(b) * cells).view(len(b), size_a, size_b).double()
    square = n.square() * weight_a[:, None] * weight_b[:, None, :]
    return torch.stack([part.sum((1, 2)) for part in (torch.xlogy(n, n), n > 0, square)])


def _count_sparse(joint: Tensor, weight_a: Tensor, weight_b: Tensor) -> Tensor:
    """`_count_pairs` of one pair whose table is too large to be laid out; shape (3,)."""
    cells, counts = joint.unique(return_counts=True)
    n = counts.double()
    square = n.square() * weight_a[cells // len(weight_b)] * weight_b[cells % len(weight_b)]
    return torch.stack([torch.xlogy(n, n).sum(), n.new_tensor(len(n)), square.sum()])


def _chance(in_a: _Marginal, in_b: _Marginal, rows: int) -> Tensor:
    """1 - 1e-4 quantile of Pearson's χ² among independent columns with these counts, (K, D).

    Mean and variance are exact however few samples a cell has (Haldane 1940, Biometrika 31, 346);
    the law is a scaled χ², its quantile that of Wilson and Hilferty.
    """
    if rows <= 3:
        return torch.full((len(in_a.occupied), len(in_b.occupied)), math.inf).to(in_a.inverse)
    (v_a, w_a), (v_b, w_b) = (_haldane(side, rows) for side in (in_a, in_b))
    v_a, w_a = v_a[:, None], w_a[:, None]
    mean = (in_a.occupied - 1)[:, None] * (in_b.occupied - 1) * rows / (rows - 1)
    variance = 2 * rows / (rows - 3) * (v_a - w_a) * (v_b - w_b) + rows**2 / (rows - 1) * w_a * w_b
    spread = variance.clamp(min=0) / (9 * mean.square()).clamp(min=1e-300)
    quantile = mean * (1 - spread + _EVIDENCE * spread.sqrt()) ** 3
    return quantile + _ROUNDING * rows * in_a.occupied[:, None] * in_b.occupied


def _haldane(side: _Marginal, rows: int) -> tuple[Tensor, Tensor]:
    """Haldane's v and w of the counts on one side of a table."""
    classes = side.occupied
    v = (classes - 1) * (rows - classes) / (rows - 1)
    return v, (rows * side.inverse.sum(1) - classes.square()) / (rows - 2)
