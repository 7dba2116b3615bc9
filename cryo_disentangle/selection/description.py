"""What a set of particles is: a state of the molecule, or a direction of view."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import chi2

__all__ = ["ViewShare", "micrograph_shares", "view_bins", "view_share"]

Array = npt.NDArray[Any]
BoolArray = npt.NDArray[np.bool_]

_BINS = 64
_SIGNIFICANT = 0.01
_IS_VIEW, _PARTLY_VIEW = 0.25, 0.02


class ViewShare(NamedTuple):
    """Share of membership in a set that the viewing direction explains.

    Attributes:
        share: Share of the variance of membership that bins of views explain beyond chance, 0 where
            the set is seen from everywhere as the others are, 1 where it is a set of views.
        p_value: Of the hypothesis that membership does not depend on the view.
        counts: Particles of the set in each bin, shape (B,).
        expected: What chance would give, shape (B,).
    """

    share: float
    p_value: float
    counts: Array
    expected: Array

    @property
    def depends(self) -> bool:
        """Whether the set is not seen from everywhere as all particles are."""
        return self.p_value <= _SIGNIFICANT and self.share >= _PARTLY_VIEW

    @property
    def words(self) -> str:
        """The finding in a sentence."""
        percent = f"{100 * self.share:.0f} %"
        if not self.depends:
            return "The set is seen from the same directions as all particles."
        if self.share < _IS_VIEW:
            return f"The set depends in part on the view: directions explain {percent} of it."
        return (
            "The set is a view rather than a state: viewing directions explain "
            f"{percent} of the selection."
        )


def view_bins(rotation: Array, bins: int = _BINS) -> npt.NDArray[np.int64]:
    """Assigns viewing directions to cells of equal area.

    Args:
        rotation: Shape (N, 3, 3), as in `Pose`.
        bins: Number B of cells, around the points of a Fibonacci lattice on the sphere.

    Returns:
        Cell of each particle, shape (N,).

    References:
        González 2010, Measurement of areas on a sphere using Fibonacci and latitude-longitude
        lattices.
    """
    height = 1 - (2 * np.arange(bins) + 1) / bins
    turn = np.pi * (1 + 5**0.5) * np.arange(bins)
    radius = np.sqrt(1 - height**2)
    centres = np.stack([radius * np.cos(turn), radius * np.sin(turn), height])
    cells: npt.NDArray[np.int64] = (rotation[:, 2] @ centres).argmax(1)
    return cells


def view_share(chosen: BoolArray, rotation: Array) -> ViewShare:
    """Measures how far a set of particles is a set of views.

    Args:
        chosen: Who is in the set, shape (N,).
        rotation: Of all particles, shape (N, 3, 3), as in `Pose`.

    Returns:
        The share, with the p-value of Pearson's test of homogeneity.

    Raises:
        ValueError: If no particle or every particle is chosen.
    """
    count, size = int(chosen.sum()), len(chosen)
    if count in (0, size):
        raise ValueError(f"a set of {count} of {size} particles has no others to be compared with")
    cells = view_bins(rotation, int(np.clip(size // 20, 2, _BINS)))
    total = np.bincount(cells)
    inside = np.bincount(cells[chosen], minlength=len(total))
    seen = total > 0
    rate = count / size
    expected = rate * total
    residual = (inside[seen] - expected[seen]) ** 2 / (expected[seen] * (1 - rate))
    statistic, freedom = float(residual.sum()), int(seen.sum()) - 1
    share = max(0.0, (statistic - freedom) / (size - freedom)) if freedom else 0.0
    p_value = float(chi2.sf(statistic, freedom)) if freedom else 1.0
    return ViewShare(share, p_value, inside, expected)


def micrograph_shares(chosen: BoolArray, micrographs: Array) -> dict[str, float]:
    """Share of each micrograph's particles that a set takes.

    Args:
        chosen: Who is in the set, shape (N,).
        micrographs: Micrograph of each particle, shape (N,).

    Returns:
        Shares by micrograph, the largest first.
    """
    names, which = np.unique(micrographs, return_inverse=True)
    share = np.bincount(which, weights=chosen) / np.bincount(which)
    order = np.argsort(-share, kind="stable")
    return {str(names[k]): float(share[k]) for k in order}
