"""Whether the mean of latents differs between groups: views, optics groups, micrographs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.geometry.rotations import rotation_to_euler_zyz
from cryo_disentangle.metrics.functional.codes import (
    Array,
    as_tensor,
    check_columns,
    standardize,
)
from cryo_disentangle.metrics.functional.gauge import check_poses
from cryo_disentangle.metrics.functional.spread import equal_cells

__all__ = ["GroupLeakScores", "group_leak", "view_group_leak"]

_FEWEST = 12
_MOST_ROWS = 100_000
_ROWS_PER_CELL = 50


class GroupLeakScores(NamedTuple):
    """Shares of the latents' variance that groups explain.

    Attributes:
        share: Share of each latent's variance that lies between groups beyond chance, shape (K,),
            0 at least.
        p_value: Of equal means, by permuted rows, corrected for the number of latents, shape (K,).
    """

    share: Tensor
    p_value: Tensor


def group_leak(
    z: Array, groups: Array, *, permutations: int = 200, seed: int = 0
) -> GroupLeakScores:
    """Measures how much of latents lies between groups of particles.

    The share is ε² of the analysis of variance, 1 - (N - 1) W / ((N - G) T) with W the squares
    within G groups and T all squares. Its null is that of permuted rows, of latents that are ranked
    so that a few far ones do not decide, with the largest of all latents' deciding (Westfall and
    Young).

    Args:
        z: Latents, shape (N, K), N at least 12.
        groups: Whole numbers that name the groups, shape (N,).
        permutations: The smallest p-value is 1 / (1 + permutations).
        seed: Of the permutations, and of the rows if more than 100,000 are given.

    Returns:
        The scores.

    Edge cases:
        One group, or as many as rows, and constant latents have share 0 and p-value 1.

    Raises:
        ValueError: If lengths differ, there are fewer than 12 rows, a number is not finite, or
            permutations is less than 2.

    References:
        Kelley 1935, An unbiased correlation ratio measure; Westfall and Young 1993,
        Resampling-based multiple testing, Algorithm 2.5.
    """
    code = check_columns(z, "z", minimum=_FEWEST)
    labels = as_tensor(groups, "groups").to(code.device)
    if labels.shape != (len(code),):
        raise ValueError(f"groups must have shape ({len(code)},), got {tuple(labels.shape)}")
    if permutations < 2:
        raise ValueError(f"permutations must be at least 2, got {permutations}")
    generator = torch.Generator().manual_seed(seed)
    if len(code) > _MOST_ROWS:
        rows = torch.randperm(len(code), generator=generator)[:_MOST_ROWS].to(code.device)
        code, labels = code[rows], labels[rows]
    labels = labels.unique(return_inverse=True)[1]
    count, size = int(labels.max()) + 1, len(code)
    if count in (1, size):
        none = torch.zeros(code.shape[1], dtype=code.dtype, device=code.device)
        return GroupLeakScores(none, none + 1)
    share = _epsilon_squared(_between(standardize(code), labels), count, size)
    ranked = standardize(code.argsort(0).argsort(0).to(code))
    observed = _between(ranked, labels)
    null = torch.stack(
        [
            _between(ranked, labels[torch.randperm(size, generator=generator).to(labels.device)])
            for _ in range(permutations)
        ]
    )
    constant = code.amax(0) == code.amin(0)
    null[:, constant] = -torch.inf
    as_large = (null.amax(1)[:, None] >= observed).sum(0)
    p_value = ((1 + as_large) / (1 + permutations)).to(code)
    return GroupLeakScores(share.masked_fill(constant, 0.0), p_value.masked_fill(constant, 1.0))


def view_group_leak(
    z: Array, rotation: Array, *, cells: int = 64, permutations: int = 200, seed: int = 0
) -> dict[str, GroupLeakScores]:
    """Measures how much of latents lies between views, and between angles in the plane.

    Args:
        z: Latents, shape (N, K), N at least 12.
        rotation: Rotations (N, 3, 3), or angles in radians (N,) for poses on SO(2).
        cells: Number of cells with equally many views, rounded down to a power of 2; fewer where
            one would have less than 50 rows.
        permutations: As in `group_leak`.
        seed: As in `group_leak`.

    Returns:
        The scores of ``view``, the direction, and of ``in_plane``.

    Raises:
        ValueError: As `group_leak`.
    """
    matrices = check_poses(rotation, "rotation")
    psi = torch.deg2rad(rotation_to_euler_zyz(matrices)[:, 2])
    parts = {"view": matrices[:, 2], "in_plane": torch.stack([psi.cos(), psi.sin()], 1)}
    cells = max(2, min(cells, len(matrices) // _ROWS_PER_CELL))
    return {
        name: group_leak(z, equal_cells(part.double(), cells), permutations=permutations, seed=seed)
        for name, part in parts.items()
    }


def _between(z: Tensor, labels: Tensor) -> Tensor:
    """Share of the squares of standardised latents (N, K) that lies between groups, (K,)."""
    counts = torch.bincount(labels).to(z)
    sums = torch.stack([torch.bincount(labels, column) for column in z.unbind(1)], 1)
    return (sums.square() / counts[:, None]).sum(0) / len(z)


def _epsilon_squared(between: Tensor, count: int, size: int) -> Tensor:
    """The share without what chance puts between groups."""
    return (1 - (1 - between) * (size - 1) / (size - count)).clamp(min=0)
