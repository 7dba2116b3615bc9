"""Soft circular window in real space."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["soft_window"]


def soft_window(box_size: int, inner: float = 0.85, outer: float = 0.99) -> Tensor:
    """Builds the window that cryoDRGN multiplies images with.

    Args:
        box_size: Image side D in pixels.
        inner: Radius up to which the window is one, as a fraction of D / 2.
        outer: Radius from which it is zero; linear between.

    Returns:
        Shape (D, D), float32, centred on pixel D / 2.

    Raises:
        ValueError: If not 0 < inner < outer.
    """
    if not 0 < inner < outer:
        raise ValueError(f"window needs 0 < inner < outer, found inner {inner} and outer {outer}")
    axis = torch.linspace(-1, 1, box_size + 1, dtype=torch.float64)[:-1]
    radius = torch.hypot(axis[:, None], axis[None, :])
    return ((outer - radius) / (outer - inner)).clamp(0, 1).float()
