"""Whether the spread of latents follows the view, the defocus or the shift, where no mean does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.metrics.functional.codes import Array, check_codes, check_columns, standardize
from cryo_disentangle.metrics.functional.gauge import check_poses

__all__ = ["SpreadLeakScores", "equal_cells", "nuisance_spread_leak", "view_spread_leak"]

# Fewer leave too few on either side of a split into fit and test.
_FEWEST = 12
# Medians of smaller cells make their residuals too small for the null of permuted ones.
_ROWS_PER_CELL = 50
# More rows find smaller differences than matter, and take longer.
_MOST_ROWS = 100_000
# Spreads below this share of the mean one are not distinguished: their logarithm is unbounded.
_NARROWEST = 1e-3


class SpreadLeakScores(NamedTuple):
    """Differences in the spread of latents between views or values of a nuisance.

    Attributes:
        variance: Variance between cells of the log spread beyond what permuted rows have, of each
            latent, shape (K,), 0 at least.
        ratio: Spread of the widest over that of the narrowest cell once chance is taken off, of
            each latent, shape (K,), 1 at least.
        p_value: Of each latent, shape (K,), corrected for having looked at K + 1 spreads.
        overall_variance: Of the distance in all latents, each in units of its own spread, shape ().
        overall_ratio: As ``ratio``, shape ().
        overall_p_value: As ``p_value``, shape ().
    """

    variance: Tensor
    ratio: Tensor
    p_value: Tensor
    overall_variance: Tensor
    overall_ratio: Tensor
    overall_p_value: Tensor


def view_spread_leak(
    z: Array,
    rotation: Array,
    *,
    width: Array | None = None,
    bins: int = 32,
    permutations: int = 200,
    seed: int = 0,
) -> SpreadLeakScores:
    """Tests whether latents spread more widely at some views than at others.

    `pose_leak` finds latents whose mean follows the view. A latent space may have the same mean at
    all views, and yet be narrow at one and wide at another. Cells of equally many views are cut by
    halving; the spread in a cell is the mean distance from its median, as in Brown and Forsythe's
    test; the statistic is the variance between cells of the spread's logarithm; its null is that
    of distances permuted between cells, with the largest of all latents' deciding (Westfall and
    Young).

    Args:
        z: Latents, shape (N, K), N at least 12.
        rotation: Rotations (N, 3, 3), or angles in radians (N,) for poses on SO(2). Where all are
            seen from one direction, the angle in the plane takes the place of the view.
        width: Standard deviation that an honest z has at the particle's view, shape (N,) or (N, K),
            by which distances are divided; only its proportions matter. Of estimates with errors
            σ of a motion of spread τ it is √(τ² + σ²), of posterior means under a standard normal
            prior √(1 - σ²) with σ² the posterior's variance. None assumes the same at all views:
            honest uncertainty then counts as a leak.
        bins: Number of cells, rounded down to a power of 2; fewer where one would have less than 50
            rows.
        permutations: The smallest p-value is 1 / (1 + permutations).
        seed: Of the permutations, and of the rows if more than 100,000 are given.

    Returns:
        The scores.

    Edge cases:
        A constant latent and a single view have variance 0, ratio 1 and p-value 1.

    Raises:
        ValueError: If lengths differ, there are fewer than 12 rows, a number is not finite, a width
            is not positive, or bins or permutations is less than 2.

    References:
        Brown and Forsythe 1974, Robust tests for the equality of variances; Westfall and Young
        1993, Resampling-based multiple testing, Algorithm 2.5; Phipson and Smyth 2010, Eq. 2.
    """
    matrices = check_poses(rotation, "rotation")
    view = matrices[:, 2]
    if bool((view - view[:1]).abs().max() < 1e-6):
        psi = torch.deg2rad(rotation_to_euler_zyz(matrices)[:, 2])
        view = torch.stack([psi.cos(), psi.sin()], 1)
    code, view = check_codes(z, view, minimum=_FEWEST)
    return _spread_leak(code, view, width, bins, permutations, seed)


def nuisance_spread_leak(
    z: Array,
    columns: Mapping[str, Array],
    *,
    width: Array | None = None,
    bins: int = 32,
    permutations: int = 200,
    seed: int = 0,
) -> dict[str, SpreadLeakScores]:
    """Tests whether latents spread more widely at some defocus, shift or other nuisance.

    Args:
        z: Latents, shape (N, K), N at least 12.
        columns: Named nuisances of the same particles, each (N,) or (N, C).
        width: As in `view_spread_leak`.
        bins: As in `view_spread_leak`; cells of a single column are its quantiles.
        permutations: As in `view_spread_leak`.
        seed: As in `view_spread_leak`.

    Returns:
        The scores of each nuisance, under its name; each is corrected for its own latents alone.

    Raises:
        ValueError: As `view_spread_leak`.
    """
    code = check_columns(z, "z", minimum=_FEWEST)
    scores = {}
    for name, column in columns.items():
        nuisance = check_columns(column, name, minimum=_FEWEST).to(code.device)
        if len(nuisance) != len(code):
            raise ValueError(
                f"z and {name} must have as many samples, got {len(code)} and {len(nuisance)}"
            )
        cut = standardize(nuisance)
        scores[name] = _spread_leak(code, cut, width, bins, permutations, seed)
    return scores


def _spread_leak(
    z: Tensor, nuisance: Tensor, width: Array | None, bins: int, permutations: int, seed: int
) -> SpreadLeakScores:
    """Tests the spread of latents (N, K) in cells of a nuisance (N, C)."""
    if min(bins, permutations) < 2:
        raise ValueError(f"bins and permutations must be at least 2, got {bins} and {permutations}")
    widths = _check_width(width, z)
    generator = torch.Generator().manual_seed(seed)
    if len(z) > _MOST_ROWS:
        rows = torch.randperm(len(z), generator=generator)[:_MOST_ROWS].to(z.device)
        z, nuisance, widths = z[rows], nuisance[rows], widths[rows]
    cells = equal_cells(nuisance, max(2, min(bins, len(z) // _ROWS_PER_CELL)))
    distance = _distances(z, cells, widths)
    observed, log_spread = _between(distance, cells)
    null = torch.stack(
        [
            _between(distance, cells[torch.randperm(len(z), generator=generator).to(z.device)])[0]
            for _ in range(permutations)
        ]
    )
    chance = null.mean(0)
    excess = (observed - chance).clamp(min=0)
    # Deviations of the cells are shrunk until they vary by the excess.
    shrinkage = (excess / observed.clamp(min=torch.finfo(observed.dtype).tiny)).sqrt()
    ratio = (shrinkage * (log_spread.amax(0) - log_spread.amin(0))).exp()
    p_value = _corrected(observed, null)
    return SpreadLeakScores(
        excess[:-1], ratio[:-1], p_value[:-1], excess[-1], ratio[-1], p_value[-1]
    )


def _check_width(width: Array | None, z: Tensor) -> Tensor:
    """Widths of each latent of each row, (N, K)."""
    if width is None:
        return torch.ones_like(z)
    widths = check_columns(width, "width").to(z.device)
    if len(widths) != len(z) or widths.shape[1] not in (1, z.shape[1]):
        raise ValueError(
            f"width must have shape ({len(z)},) or {tuple(z.shape)} as z has, got "
            f"{tuple(widths.shape)}"
        )
    if not bool((widths > 0).all()):
        raise ValueError(f"width must be positive, got {widths.min().item():g}")
    return widths.expand_as(z)


def equal_cells(x: Tensor, bins: int) -> Tensor:
    """Cuts rows at the median of the direction in which they vary most, again and again.

    Args:
        x: Shape (N, C).
        bins: Number of cells, rounded down to a power of 2.

    Returns:
        Numbers of the cells, shape (N,), int64: at most ``bins``, with equally many rows each as
        far as equal rows allow.
    """
    cells = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    for level in range(bins.bit_length() - 1):
        for cell in range(2**level):
            rows = (cells == cell).nonzero()[:, 0]
            upper = _upper_half(x[rows]) if len(rows) > 1 else rows[:0] > 0
            cells[rows[upper]] += 2**level
    return cells.unique(return_inverse=True)[1]


def _upper_half(x: Tensor) -> Tensor:
    """Which rows (N, C) lie in the upper half along their principal axis, (N,) bool."""
    centred = x - x.mean(0)
    axis = torch.linalg.eigh(centred.T @ centred).eigenvectors[:, -1]
    along = centred @ axis
    middle = along.median()
    above, from_middle = along > middle, along >= middle
    # Of values many of which are equal, the cut that leaves more equal halves.
    share, other = above.double().mean(), from_middle.double().mean()
    return above if bool((share - 0.5).abs() <= (other - 0.5).abs()) else from_middle


def _distances(z: Tensor, cells: Tensor, width: Tensor) -> Tensor:
    """Distances from the cell's median over the width, of each latent and of all, (N, K + 1)."""
    distance = torch.empty_like(z)
    for cell in range(int(cells.max()) + 1):
        rows = cells == cell
        distance[rows] = (z[rows] - z[rows].median(0).values).abs() / width[rows]
    scale = distance.mean(0)
    # Rounding alone is no spread.
    constant = scale <= 1e-12 * (z.abs() / width).mean(0)
    distance = (distance / scale.masked_fill(constant, 1.0)).masked_fill(constant, 0.0)
    return torch.cat([distance, torch.linalg.vector_norm(distance, dim=1, keepdim=True)], 1)


def _between(distance: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Variance of the log mean distance between cells (K + 1,), and these logarithms."""
    counts = torch.bincount(cells).to(distance)[:, None]
    sums = torch.stack([torch.bincount(cells, column) for column in distance.unbind(1)], 1)
    mean = distance.mean(0)
    floor = torch.where(mean > 0, _NARROWEST * mean, 1.0)
    log_spread = torch.maximum(sums / counts, floor).log()
    weight = counts / counts.sum()
    deviation = log_spread - (weight * log_spread).sum(0)
    return (weight * deviation.square()).sum(0), log_spread


def _corrected(observed: Tensor, null: Tensor) -> Tensor:
    """P-values (K + 1,) from the largest of all standardised statistics in each permutation."""
    centre, scale = null.mean(0), null.std(0)
    varying = scale > 0
    scale = scale.masked_fill(~varying, 1.0)
    largest = ((null - centre) / scale).masked_fill(~varying, -torch.inf).amax(1)
    as_large = (largest[:, None] >= (observed - centre) / scale).sum(0)
    p_value = (1 + as_large.to(observed)) / (1 + len(null))
    return p_value.masked_fill(~varying, 1.0)
