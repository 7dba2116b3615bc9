"""Exact images and volumes of sums of isotropic Gaussians.

The integral of a Gaussian over a pixel is a product of two differences of the error function, one
along x and one along y (the integral along the beam is one). So an image is one matrix product of
two profile matrices, and a volume one of three.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from cryo_disentangle.precision import may_look

__all__ = ["gaussian_volume", "project_gaussians"]

# Beyond this many standard deviations lie 6e-7 of a Gaussian's mass: float32's resolution of a sum.
_REACH = 5.0
# Measured: a windowed pixel costs about as much as 2.5 of a whole row, for it has to be scattered.
_WINDOW_COST = 2.5


def _profiles(position: Tensor, sigma_px: Tensor, factor: Tensor, box_size: int) -> Tensor:
    """Integrates Gaussians over the pixels of each axis.

    The error function is what costs: where a Gaussian is small against the box, only a window of
    pixels about its centre is evaluated.

    Args:
        position: Centres in pixels, shape (B, axes, N).
        sigma_px: Standard deviations in pixels, shape (1,) or (N,).
        factor: Multiplies each profile, broadcastable to (B, axes, N).
        box_size: Number of pixels D.

    Returns:
        Shape (B, axes, N, D).
    """
    windowed = may_look(sigma_px.device)
    if windowed:
        reach = _REACH * float(sigma_px.detach().max())
        width = math.ceil(2 * reach) + 1
        windowed = width * _WINDOW_COST < box_size
    if windowed:
        # Windows stay inside the box: a clamped one gains empty pixels and loses only outer ones.
        start = torch.floor(position.detach() - reach + 0.5).clamp_(0, box_size - width)
        position = position - start
    edges = torch.arange(width + 1 if windowed else box_size + 1, device=position.device) - 0.5
    scale = (math.sqrt(0.5) / sigma_px).unsqueeze(-1)
    cumulative = torch.erf(edges.to(position.dtype) * scale - position.unsqueeze(-1) * scale)
    integrals = (cumulative[..., 1:] - cumulative[..., :-1]) * (0.5 * factor).unsqueeze(-1)
    if not windowed:
        return integrals
    pixels = start.long().unsqueeze(-1) + torch.arange(width, device=position.device)
    return integrals.new_zeros(*position.shape, box_size).scatter(-1, pixels, integrals)


def _sigma_in_pixels(sigma: float | Tensor, pixel_size: float, centres: Tensor) -> Tensor:
    """Checks sigma and brings it to shape (1,) or (N,) in pixels."""
    tensor = torch.as_tensor(sigma, dtype=centres.dtype, device=centres.device).reshape(-1)
    if tensor.shape[0] not in (1, centres.shape[1]):
        raise ValueError(
            f"sigma must be one number or one for each of the {centres.shape[1]} Gaussians, "
            f"found {tensor.shape[0]}"
        )
    if may_look(tensor.device) and not bool((tensor > 0).all()):
        raise ValueError(f"sigma must be positive, found {float(tensor.min())}")
    return tensor / pixel_size


def _check(centres: Tensor, weights: Tensor, box_size: int, pixel_size: float) -> None:
    """Refuses shapes and sizes that cannot be meant."""
    if centres.ndim != 3 or centres.shape[-1] != 3:
        raise ValueError(f"centres must have shape (B, N, 3), found {tuple(centres.shape)}")
    if weights.shape not in (centres.shape[1:2], centres.shape[:2]):
        raise ValueError(
            f"weights must have shape {tuple(centres.shape[1:2])} or {tuple(centres.shape[:2])}, "
            f"found {tuple(weights.shape)}"
        )
    if box_size < 2 or box_size % 2:
        raise ValueError(f"box size must be even and positive, found {box_size}")
    if not pixel_size > 0:
        raise ValueError(f"pixel size must be positive, found {pixel_size}")


def project_gaussians(
    centres: Tensor,
    weights: Tensor,
    sigma: float | Tensor,
    rotation: Tensor,
    box_size: int,
    pixel_size: float,
    translation: Tensor | None = None,
) -> Tensor:
    """Projects Gaussians along the beam and integrates over each pixel, exactly.

    A Gaussian at model position c lands at column and row
    (R c)_{x, y} / pixel size + D / 2 - translation, so that moving the image by ``+translation``
    centres it. A pixel i covers [i - 1/2, i + 1/2]. The image sums to the sum of the weights while
    all of the molecule is inside the box. Differentiable in every tensor but through the choice of
    the window of pixels.

    Args:
        centres: Model coordinates (x, y, z) in Å, shape (B, N, 3).
        weights: Integrated density of each Gaussian, shape (N,) or (B, N).
        sigma: Standard deviation in Å, a number or shape (N,).
        rotation: As in `Pose`, shape (B, 3, 3).
        box_size: Image side D in pixels, even.
        pixel_size: Å per pixel.
        translation: (x, y) in pixels, as in `Pose`, shape (B, 2); None for centred particles.

    Returns:
        Images, shape (B, D, D), rows y, columns x, in the type of ``centres``.

    Raises:
        ValueError: If a shape or size is wrong, or a sigma is not positive.
    """
    _check(centres, weights, box_size, pixel_size)
    sigma_px = _sigma_in_pixels(sigma, pixel_size, centres)
    position = rotation[:, :2] @ centres.transpose(1, 2) / pixel_size + box_size / 2
    if translation is not None:
        position = position - translation.unsqueeze(-1)
    factor = torch.stack([weights, torch.ones_like(weights)], dim=-2)
    columns, rows = _profiles(position, sigma_px, factor, box_size).unbind(1)
    return rows.transpose(1, 2) @ columns


def gaussian_volume(
    centres: Tensor,
    weights: Tensor,
    sigma: float | Tensor,
    box_size: int,
    pixel_size: float,
) -> Tensor:
    """Integrates Gaussians over the voxels of a grid, exactly.

    The sum over z of the volume is the projection at the identity rotation, while all of the
    molecule is inside the box.

    Args:
        centres: Model coordinates (x, y, z) in Å, shape (B, N, 3).
        weights: Integrated density of each Gaussian, shape (N,) or (B, N).
        sigma: Standard deviation in Å, a number or shape (N,).
        box_size: Side D in voxels, even; the origin is voxel D / 2.
        pixel_size: Å per voxel.

    Returns:
        Volumes, shape (B, D, D, D), axes z, y, x, in the type of ``centres``.

    Raises:
        ValueError: If a shape or size is wrong, or a sigma is not positive.
    """
    _check(centres, weights, box_size, pixel_size)
    sigma_px = _sigma_in_pixels(sigma, pixel_size, centres)
    position = centres.transpose(1, 2) / pixel_size + box_size / 2
    ones = torch.ones_like(weights)
    factor = torch.stack([weights, ones, ones], dim=-2)
    x, y, z = _profiles(position, sigma_px, factor, box_size).unbind(1)
    planes = (z.unsqueeze(-1) * y.unsqueeze(-2)).flatten(2)
    return (planes.transpose(1, 2) @ x).unflatten(1, (box_size, box_size))
