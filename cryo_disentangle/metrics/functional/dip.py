"""One peak or several: Hartigans' dip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.metrics.functional.codes import Array, check_columns

__all__ = ["DipScore", "dip", "dip_test"]

_FEWEST = 4
_MOST_ROWS = 2_000
# Quantiles of the dip times the root of the number of rows, of uniform samples of 2,000 rows, by
# probability: 8,000 draws, benchmarks/anytool/dip.py.
_PROBABILITIES = np.array([0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999])
_QUANTILES = np.array(
    [0.2392, 0.291, 0.3257, 0.3749, 0.4333, 0.497, 0.5343, 0.587, 0.6283, 0.6573, 0.6975, 0.7193]
)

FloatArray = npt.NDArray[np.float64]


class DipScore(NamedTuple):
    """Hartigans' dip: how far a sample is from having one peak.

    Attributes:
        dip: Largest distance of the sample's distribution function from the nearest one of a
            single peak.
        p_value: Probability of such a dip under the uniform distribution, the least favourable one
            of a single peak; between 0.001 and 1.
    """

    dip: float
    p_value: float


def dip_test(x: Array, *, seed: int = 0) -> DipScore:
    """Tests whether a sample comes from a distribution of one peak.

    Args:
        x: Sample, shape (N,), N at least 4; of more than 2,000 rows as many are drawn.
        seed: Of the drawn rows.

    Returns:
        The dip and its p-value.

    Edge cases:
        A constant sample has one peak: dip 1 / (2 N) and p-value 1. Values that occur often are
        steps of the distribution function, and count as peaks.

    Raises:
        ValueError: If there are fewer than 4 rows, or a number is not finite.

    References:
        Hartigan and Hartigan 1985, The dip test of unimodality.
    """
    values = check_columns(x, "x", minimum=_FEWEST)[:, 0].cpu().numpy()
    if len(values) > _MOST_ROWS:
        values = np.random.default_rng(seed).choice(values, _MOST_ROWS, replace=False)
    found = dip(values)
    scaled = found * np.sqrt(len(values))
    return DipScore(found, float(1 - np.interp(scaled, _QUANTILES, _PROBABILITIES, left=0.0)))


def dip(values: FloatArray) -> float:
    """Computes the dip of a sample.

    The greatest convex minorant and the least concave majorant of the sample's distribution
    function close in on the interval in which the nearest function of one peak is straight.

    Args:
        values: Shape (N,).

    Returns:
        The dip, between 1 / (2 N) and 1 / 4.

    References:
        Hartigan and Hartigan 1985, Section 3.
    """
    place, counts = np.unique(values, return_counts=True)
    upper = np.cumsum(counts) / len(values)
    lower = upper - counts / len(values)
    first, last, found = 0, len(place) - 1, 1 / len(values)
    while first < last:
        x = place[first : last + 1]
        # The minorant runs below the steps' feet, the majorant above their tops.
        low, high = lower[first : last + 1], upper[first : last + 1]
        minorant, feet = _hull(x, low, 1)
        majorant, tops = _hull(x, high, -1)
        gap_feet, gap_tops = majorant[feet] - minorant[feet], majorant[tops] - minorant[tops]
        gap = max(gap_feet.max(), gap_tops.max())
        if gap <= found:
            break
        if gap_feet.max() > gap_tops.max():
            left = feet[gap_feet.argmax()]
            right = tops[np.searchsorted(tops, left)]
        else:
            right = tops[len(gap_tops) - 1 - gap_tops[::-1].argmax()]
            left = feet[np.searchsorted(feet, right, side="right") - 1]
        outside = max(
            (high[: left + 1] - minorant[: left + 1]).max(),
            (majorant[right:] - low[right:]).max(),
        )
        found = max(found, outside)
        if left == 0 and right == len(x) - 1:
            break
        first, last = first + int(left), first + int(right)
    return float(found / 2)


def _hull(x: FloatArray, y: FloatArray, sign: int) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Convex minorant (sign 1) or concave majorant (sign -1) at ``x``, and where it touches."""
    kept: list[int] = []
    abscissa, ordinate = x.tolist(), (sign * y).tolist()
    for k, (a, b) in enumerate(zip(abscissa, ordinate, strict=True)):
        while len(kept) > 1:
            i, j = kept[-2], kept[-1]
            turn = (abscissa[j] - abscissa[i]) * (b - ordinate[i])
            if turn > (ordinate[j] - ordinate[i]) * (a - abscissa[i]):
                break
            kept.pop()
        kept.append(k)
    touching = np.array(kept)
    return np.interp(x, x[touching], y[touching]), touching
