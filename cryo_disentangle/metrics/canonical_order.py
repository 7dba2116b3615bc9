"""An order of samples that depends on what they are alone."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["canonical_order", "mix_bits"]

# Odd multipliers of MurmurHash3's 64-bit finaliser, as signed integers.
_FIRST, _SECOND = -49064778989728563, -4265267296055464877


def canonical_order(z: Tensor, factors: Tensor) -> Tensor:
    """Orders samples by a hash of their factors, those of equal factors by a hash of their latents.

    Metrics that hold rows out choose them by position. In this order they choose the same samples
    however the samples came: shuffled, in other batches, or spread over processes; and, as long as
    factors differ, the same for all models and all scales of latents.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).

    Returns:
        Rows in order, shape (N,), int64. Only samples that are equal in every number may change
        places.
    """
    key = _hash(factors)
    ordered, order = key.sort(stable=True)
    if bool((ordered[1:] != ordered[:-1]).all()):
        return order
    by_latents = _hash(z).sort(stable=True).indices
    return by_latents[key[by_latents].sort(stable=True).indices]


def _hash(x: Tensor) -> Tensor:
    """A number for each row of (N, C), int64."""
    key = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for column in x.unbind(1):
        key = mix_bits(key ^ mix_bits(column.to(torch.float64).view(torch.int64)))
    return key


def mix_bits(key: Tensor) -> Tensor:
    """Spreads every bit over all others; without it float32's zero bits would make rows collide.

    Args:
        key: Any integers, int64, shape (...).

    Returns:
        Other integers, one for each, of the same shape.

    References:
        Appleby 2011, MurmurHash3, the finaliser of 64 bits.
    """
    key = (key ^ (key >> 33)) * _FIRST
    key = (key ^ (key >> 33)) * _SECOND
    return key ^ (key >> 33)
