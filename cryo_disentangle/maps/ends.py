"""Which particles lie at the ends of a latent axis, and how much each of them counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

__all__ = ["AxisEnd", "axis_ends", "chosen_noise"]

FloatArray = npt.NDArray[np.float64]

# Particles that rather lie elsewhere are left out.
_LEAST_PROBABILITY = 0.5


class AxisEnd(NamedTuple):
    """Particles at one end of an axis.

    Attributes:
        name: ``low`` or ``high``.
        rows: Their places among the latents, shape (n,), ascending.
        weight: How much each counts, shape (n,): the probability that it lies beyond the limit.
        limit: Value on the axis where the end begins.
    """

    name: str
    rows: npt.NDArray[np.int64]
    weight: FloatArray
    limit: float


def axis_ends(
    value: npt.NDArray[Any], width: npt.NDArray[Any] | None, share: float
) -> tuple[AxisEnd, AxisEnd]:
    """Finds the particles at both ends of an axis.

    With the posteriors' widths a particle counts by the probability that it lies beyond the end's
    limit, and not at all where that is below one half, so that particles of which little is known
    do not blur the maps.

    Args:
        value: Coordinate of each particle, shape (N,).
        width: Standard deviation of each coordinate's posterior, shape (N,), or None.
        share: Share of the particles that an end's limit leaves outside, above 0 and below 0.5.

    Returns:
        The low and the high end.

    Raises:
        ValueError: If the share is out of range, or all values are the same.
    """
    if not 0 < share < 0.5:
        raise ValueError(
            f"the share of the particles at an end must lie between 0 and 0.5, found {share:g}"
        )
    low, high = (float(x) for x in np.quantile(value, (share, 1 - share)))
    if not low < high:
        raise ValueError(
            f"the axis has no ends: {100 * (1 - 2 * share):.0f} % of the particles have the value "
            f"{low:g}"
        )
    return _end("low", low - value, width, low), _end("high", value - high, width, high)


def _end(
    name: str, beyond: npt.NDArray[Any], width: npt.NDArray[Any] | None, limit: float
) -> AxisEnd:
    """The end beyond a limit."""
    if width is None:
        weight = (beyond >= 0).astype(np.float64)
    else:
        weight = norm.cdf(beyond / np.maximum(width, np.finfo(np.float64).tiny))
    rows = np.flatnonzero(weight >= _LEAST_PROBABILITY)
    return AxisEnd(name, rows, weight[rows], limit)


def chosen_noise(value: npt.NDArray[Any], width: npt.NDArray[Any]) -> float:
    """Share of the ends' difference along the axis that is noise they were chosen by.

    A particle lies at an end by what its image says, noise included, and the same image is
    back-projected: along the axis an image is off by 1 / (1 - s) where s is the posterior's share
    of the spread, Var z = Var m + E s².

    Args:
        value: Posterior mean of each particle, shape (N,).
        width: Standard deviation of each posterior, shape (N,).

    Returns:
        The share s, from 0 to 1.

    References:
        Henderson 2013, Avoiding the pitfalls of single particle cryo-electron microscopy: Einstein
        from noise.
    """
    known, unknown = float(np.var(value)), float(np.mean(np.square(width)))
    return unknown / (known + unknown)
