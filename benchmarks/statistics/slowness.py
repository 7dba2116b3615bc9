"""Axes of pairs of frames by how long coordinates are remembered, whatever their steps are like."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["slow_axes"]


def slow_axes(mean: Tensor, covariance: Tensor) -> Tensor:
    """Solves for the coordinates of largest correlation between the frames of pairs.

    The noise of two images is independent and leaves the lagged covariance alone; of the covariance
    at once it is taken off, as posteriors under a standard normal prior tell it: S - S².

    Args:
        mean: Posterior means, particles 2i and 2i + 1 a pair, shape (N, Z).
        covariance: Of the posteriors, shape (N, Z, Z).

    Returns:
        Axes in columns, slow ones first, shape (Z, Z); latents @ axes are the coordinates.

    References:
        Pérez-Hernández et al. 2013, J. Chem. Phys. 139:015102 (TICA).
    """
    centred = (mean - mean.mean(0)).double()
    first, second = centred[0::2], centred[1::2]
    lagged = (first.T @ second + second.T @ first) / len(mean)
    noise = (covariance - covariance @ covariance).mean(0).double()
    signal = centred.T @ centred / len(mean) - noise
    values, vectors = torch.linalg.eigh(signal)
    whiten = vectors * values.clamp(min=1e-6).rsqrt()
    turned = torch.linalg.eigh(whiten.T @ lagged @ whiten).eigenvectors.flip(1)
    return whiten @ turned
