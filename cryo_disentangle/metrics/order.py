"""An order of samples that depends on what they are alone."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["canonical_order"]

# Odd multipliers of MurmurHash3's 64-bit finaliser, as signed integers.
_FIRST, _SECOND = -49064778989728563, -4265267296055464877


def canonical_order(z: Tensor, factors: Tensor) -> Tensor:
    """Orders samples by a hash of their numbers.

    Metrics that hold rows out choose them by position. In this order they choose the same samples
    however the samples came: shuffled, in other batches, or spread over processes.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).

    Returns:
        Rows in order, shape (N,), int64. Only samples that are equal in every number may change
        places.
    """
    key = torch.zeros(len(z), dtype=torch.int64, device=z.device)
    for columns in (z, factors):
        for column in columns.unbind(1):
            key = _mix(key ^ _mix(column.to(torch.float64).view(torch.int64)))
    return key.sort(stable=True).indices


def _mix(key: Tensor) -> Tensor:
    """Spreads every bit over all others; without it float32's zero bits would make rows collide."""
    key = (key ^ (key >> 33)) * _FIRST
    key = (key ^ (key >> 33)) * _SECOND
    return key ^ (key >> 33)
