"""Fourier shell correlation of two volumes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["fourier_shell_correlation", "resolution_at"]


def fourier_shell_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Correlates two volumes shell by shell in Fourier space.

    Args:
        first: Shape (D, D, D).
        second: Shape (D, D, D).

    Returns:
        Correlation of shells 0 .. D / 2 (shell r holds |k| rounded to r), shape (D // 2 + 1,),
        in float64, on the CPU; shell r is at spatial frequency r / (D * pixel size). A shell in
        which a volume is zero has correlation 0.

    Raises:
        ValueError: If the volumes are not cubes of equal side.

    References:
        Harauz and van Heel 1986.
    """
    side = first.shape[-1]
    if first.shape != (side, side, side) or second.shape != first.shape:
        raise ValueError(
            "volumes must be cubes of equal side, found "
            f"{tuple(first.shape)} and {tuple(second.shape)}"
        )
    a, b = (torch.fft.fftn(v.cpu().double()) for v in (first, second))
    axis = torch.fft.fftfreq(side, 1 / side, dtype=torch.float64)
    squared = axis.square()
    radius = (squared[:, None, None] + squared[:, None] + squared).sqrt().round().long()
    shells = side // 2 + 1

    def shell_sum(values: Tensor) -> Tensor:
        flat = values.flatten()
        total = torch.zeros(int(radius.max()) + 1, dtype=flat.dtype, device=flat.device)
        return total.index_add(0, radius.flatten(), flat)[:shells]

    cross = shell_sum((a * b.conj()).real)
    power = (shell_sum(a.abs().square()) * shell_sum(b.abs().square())).sqrt()
    return torch.where(power > 0, cross / power.clamp_min(torch.finfo(power.dtype).tiny), 0.0)


def resolution_at(fsc: Tensor, pixel_size: float, threshold: float) -> float:
    """Resolution at which a Fourier shell correlation first falls below a threshold.

    Args:
        fsc: Shells 0 .. D / 2 of `fourier_shell_correlation`, shape (D // 2 + 1,).
        pixel_size: Å per pixel.
        threshold: Usual values are 0.5 and 0.143.

    Returns:
        Resolution in Å, interpolated linearly between shells; the Nyquist limit (two pixels) if the
        correlation never falls below.
    """
    box_size = 2 * (len(fsc) - 1)
    below = torch.nonzero(fsc[1:] < threshold)
    if len(below) == 0:
        return 2 * pixel_size
    shell = int(below[0, 0]) + 1
    before, after = float(fsc[shell - 1]), float(fsc[shell])
    crossing = shell - 1 + (before - threshold) / (before - after) if shell > 1 else 1.0
    return box_size * pixel_size / crossing
