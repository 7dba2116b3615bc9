"""In-plane shifts of Hartley transforms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["shift_hartley"]


def shift_hartley(coefficients: Tensor, frequencies: Tensor, translation_px: Tensor) -> Tensor:
    """Moves the content of images by a number of pixels.

    H'(k) = cos(2π k·t) H(k) + sin(2π k·t) H(-k): content moves by +t, to larger column and row.

    Args:
        coefficients: Hartley coefficients, shape (B, M), at points whose reversed order is their
            mirror image (a whole symmetrised lattice, or a `FourierDisc`).
        frequencies: (x, y) of the points in cycles per pixel, shape (M, 2).
        translation_px: (x, y) in pixels, shape (B, 2).

    Returns:
        Shape (B, M).

    References:
        Bracewell 1986, The Hartley Transform: shift theorem; sign of cryoDRGN 4.3.
    """
    # In bfloat16, as autocast would have it, a phase of many radians keeps three digits.
    with torch.autocast(frequencies.device.type, enabled=False):
        phase = (2 * math.pi * translation_px) @ frequencies.T
    return torch.addcmul(torch.cos(phase) * coefficients, torch.sin(phase), coefficients.flip(-1))
