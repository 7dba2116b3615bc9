"""Centred Hartley transforms, unnormalised, origin at pixel D / 2 in both domains.

H(k) = Re F(k) - Im F(k) = Σ_x image(x) cas(2π k·x / D) with cas = cos + sin.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = [
    "desymmetrize",
    "hartley2",
    "hartley3",
    "inverse_hartley2",
    "inverse_hartley3",
    "symmetrize",
]


def _hartley(values: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Transforms the named axes; half-precision input is promoted, since FFTs refuse it."""
    if values.dtype in (torch.float16, torch.bfloat16):
        values = values.float()
    transform = torch.fft.fftn(torch.fft.fftshift(values, dim=dims), dim=dims)
    return torch.fft.fftshift(transform.real - transform.imag, dim=dims)


def hartley2(images: Tensor) -> Tensor:
    """Transforms images.

    Args:
        images: Shape (..., D, D), any floating-point type.

    Returns:
        Centred Hartley transforms, shape (..., D, D); float32 for half-precision input.
    """
    return _hartley(images, (-2, -1))


def inverse_hartley2(transforms: Tensor) -> Tensor:
    """Inverts `hartley2`.

    Args:
        transforms: Shape (..., D, D).

    Returns:
        Images, shape (..., D, D).
    """
    return _hartley(transforms, (-2, -1)) / transforms.shape[-1] ** 2


def hartley3(volumes: Tensor) -> Tensor:
    """Transforms volumes.

    Args:
        volumes: Shape (..., D, D, D), axes z, y, x.

    Returns:
        Centred Hartley transforms, shape (..., D, D, D).
    """
    return _hartley(volumes, (-3, -2, -1))


def inverse_hartley3(transforms: Tensor) -> Tensor:
    """Inverts `hartley3`.

    Args:
        transforms: Shape (..., D, D, D), axes z, y, x.

    Returns:
        Volumes, shape (..., D, D, D).
    """
    return _hartley(transforms, (-3, -2, -1)) / transforms.shape[-1] ** 3


def symmetrize(transforms: Tensor) -> Tensor:
    """Repeats the first row and column at the end, so that every frequency has its mirror image.

    Args:
        transforms: Centred transforms, shape (..., D, D), D even.

    Returns:
        Shape (..., L, L) with L = D + 1, cryoDRGN's symmetrised lattice.
    """
    wrapped = torch.cat([transforms, transforms[..., :1, :]], dim=-2)
    return torch.cat([wrapped, wrapped[..., :, :1]], dim=-1)


def desymmetrize(transforms: Tensor) -> Tensor:
    """Undoes `symmetrize`.

    Args:
        transforms: Shape (..., L, L).

    Returns:
        Shape (..., D, D) with D = L - 1.
    """
    return transforms[..., :-1, :-1]
