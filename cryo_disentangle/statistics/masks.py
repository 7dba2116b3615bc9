"""Where in the box the molecule is, and where it moves: volumes are zero elsewhere."""

from __future__ import annotations

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from cryo_disentangle.statistics.grid import SliceGrid

__all__ = ["local_weights", "molecule_mask", "sphere_mask"]

# What the halves share at a voxel counts from this share of its maximum: a twentieth of the
# amplitude. Voxels nearer than the margin belong to it; the mask then falls off over the edge.
_LEAST_SHARE = 3e-3
_MARGIN_PX, _EDGE_PX = 3.0, 3.0
# Half sets are compared within a Gaussian of so many voxels, of about one resolution each.
_LOCAL_VOXELS = 1.3


def sphere_mask(grid: SliceGrid, radius: float) -> Tensor:
    """Makes a soft sphere.

    Args:
        grid: Where volumes lie.
        radius: Its radius as a fraction of half the box.

    Returns:
        0 to 1 at the voxels of `SliceGrid.densities`, shape (S, S, S).
    """
    edge = grid.box_size / 2 * radius
    return ((edge - grid.positions()) / 2 + 0.5).clamp(0, 1)


def molecule_mask(first: Tensor, second: Tensor, grid: SliceGrid) -> Tensor:
    """Finds the molecule, and where it moves, by what two half sets share.

    Args:
        first: Mean and volumes of a half set, shape (G, C).
        second: Of the other one, shape (G, C).
        grid: Where volumes lie.

    Returns:
        0 to 1 at the voxels of `SliceGrid.densities`, shape (S, S, S).
    """
    # The product of independent estimates has no mean where there is only noise.
    shared = (grid.densities(first) * grid.densities(second)).sum(0).cpu().numpy()
    shared = ndimage.gaussian_filter(shared, 1.0, mode="wrap")
    inside = shared > _LEAST_SHARE * shared.max()
    regions, count = ndimage.label(inside)
    if count > 1:
        sizes = np.bincount(regions.ravel())[1:]
        inside = regions == 1 + int(sizes.argmax())
    voxel = grid.box_size / grid.side
    distance = torch.from_numpy(ndimage.distance_transform_edt(~inside)).float() * voxel
    return ((_MARGIN_PX - distance) / _EDGE_PX + 1).clamp(0, 1).to(first.device)


def local_weights(first: Tensor, second: Tensor, grid: SliceGrid) -> Tensor:
    """Weighs volumes voxel by voxel with the share of signal there (Wiener's filter).

    A motion moves a part of the molecule; elsewhere volumes are noise. A half set's estimate has
    locally the signal E[a b] and the noise E[(a - b)²] / 2. Both change alike where an estimate is
    weighted, so that weighting again and again does not take more and more away. All volumes have
    one weight: a weak one by itself would be weighted to nothing where strong ones say that
    something moves.

    Args:
        first: K volumes of a half set, shape (G, K).
        second: Their likes of the other one, shape (G, K).
        grid: Where volumes lie.

    Returns:
        0 to 1 at the voxels of `SliceGrid.densities`, shape (S, S, S).
    """
    a, b = grid.densities(first).cpu(), grid.densities(second).cpu()
    signal = _smoothed((a * b).sum(0)).clamp_min(0)
    noise = _smoothed((a - b).square().sum(0) / 2)
    return (signal / (signal + noise).clamp_min(torch.finfo(a.dtype).tiny)).to(first.device)


def _smoothed(densities: Tensor) -> Tensor:
    """Averages voxels (S, S, S) within a Gaussian."""
    return torch.from_numpy(ndimage.gaussian_filter(densities.numpy(), _LOCAL_VOXELS, mode="wrap"))
