"""Quantiles of distributions that are known at points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["interpolated_quantiles"]


def interpolated_quantiles(points: Tensor, below: Tensor, uniform: Tensor) -> Tensor:
    """Inverts distribution functions, straight between the points.

    Args:
        points: Increasing positions, shape (G,).
        below: Distribution function of each coordinate there, shape (Z, G).
        uniform: Probabilities, shape (Z, N).

    Returns:
        Positions, shape (Z, N).
    """
    right = torch.searchsorted(below, uniform).clamp(1, len(points) - 1)
    low, high = below.gather(-1, right - 1), below.gather(-1, right)
    share = ((uniform - low) / (high - low).clamp_min(1e-30)).clamp(0, 1)
    return torch.lerp(points[right - 1], points[right], share)
