"""Bins of latents and factors."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_columns,
    mean_ranks,
    sorted_groups,
    to_rows,
)

__all__ = ["bin_codes", "classes"]


def bin_codes(
    x: Array,
    bins: int = 20,
    *,
    rule: Literal["rank", "width"] = "rank",
    circular: bool = False,
) -> Tensor:
    """Cuts every column into bins.

    Args:
        x: Shape (N, C) or (N,); radians if ``circular``.
        bins: Number of bins.
        rule: ``"rank"``: bins of equal mass; equal values share a bin, and a column of at most
            ``bins`` distinct values keeps each as its own bin. The labels depend on the order of
            the values alone. ``"width"``: bins of equal width between the extremes, as
            `numpy.histogram`, which disentanglement_lib uses.
        circular: Columns are angles: they are wrapped into [0, 2π) first, and bins of equal width
            divide the whole circle.

    Returns:
        Bins 0 to ``bins`` - 1, shape (N, C), int64.

    Raises:
        ValueError: If ``bins`` is less than 1, there is no such rule, or ``x`` is no array of
            finite columns.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    if rule not in ("rank", "width"):
        raise ValueError(f"rule must be 'rank' or 'width', got {rule!r}")
    columns = check_columns(x, "x", minimum=1)
    if circular:
        columns = columns.remainder(2 * math.pi)
    if rule == "rank":
        return _bin_by_rank(columns, bins)
    if circular:
        return (columns * (bins / (2 * math.pi))).long().clamp(max=bins - 1)
    return _bin_by_width(columns, bins)


def _bin_by_width(columns: Tensor, bins: int) -> Tensor:
    """Bins between the extremes; edges are computed as numpy does, digit for digit."""
    low, high = columns.amin(0), columns.amax(0)
    low, high = torch.where(low == high, low - 0.5, low), torch.where(low == high, high + 0.5, high)
    steps = torch.arange(bins, dtype=torch.float64, device=columns.device)
    edges = steps * ((high - low) / bins)[:, None] + low[:, None]
    return torch.searchsorted(edges, columns.T.contiguous(), right=True).T - 1


def _bin_by_rank(columns: Tensor, bins: int) -> Tensor:
    """Bins of equal mass; few distinct values stay as they are."""
    order, groups = sorted_groups(columns)
    labels = ((mean_ranks(groups) - 0.5) * bins / len(columns)).long()
    few = groups[:, -1:] < bins
    return to_rows(order, torch.where(few, groups, labels))


def classes(labels: Array, name: str) -> Tensor:
    """Numbers the classes of every column from 0.

    Args:
        labels: Classes of any kind of number, shape (N, C) or (N,).
        name: What the array is called in messages.

    Returns:
        Shape (N, C), int64, less than N. Two labels are equal where the values are.

    Raises:
        ValueError: If ``labels`` is no array of finite columns.
    """
    columns = check_columns(labels, name, minimum=1)
    shifted = columns - columns.amin(0)
    if bool((shifted.amax(0) < len(columns)).all()) and bool((shifted == shifted.round()).all()):
        return shifted.long()
    return to_rows(*sorted_groups(columns))
