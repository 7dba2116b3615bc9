"""Correlation where one side or both are angles."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.codes import Array, check_codes, standardize

__all__ = ["circular_linear_r2", "fisher_lee"]

# Variation of an angle below this is rounding.
_ROUNDING = 1e-12


def fisher_lee(a: Array, b: Array) -> Tensor:
    """Correlation of angles with angles.

    ρ_T = Σ_{i<j} sin(a_i - a_j) sin(b_i - b_j)
    / √(Σ_{i<j} sin²(a_i - a_j) · Σ_{i<j} sin²(b_i - b_j)),
    which no shift of either angle's origin changes.

    Args:
        a: Angles in radians, shape (N, K).
        b: Angles in radians, shape (N, D).

    Returns:
        Shape (K, D), in [-1, 1]: ±1 where b = ±a + constant; 0 where an angle is constant.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    References:
        Fisher and Lee 1983, A correlation coefficient for circular data, Biometrika 70.
    """
    first, second = check_codes(a, b)
    rows = len(first)
    cos_a, sin_a, cos_b, sin_b = first.cos(), first.sin(), second.cos(), second.sin()
    joint = (cos_a.T @ cos_b) * (sin_a.T @ sin_b) - (cos_a.T @ sin_b) * (sin_a.T @ cos_b)
    spread_a = _relative_spread(first)
    spread_b = _relative_spread(second)
    scale = (spread_a[:, None] * spread_b).sqrt()
    return (
        (4 * joint / rows**2 / scale.masked_fill(scale == 0, 1.0))
        .clamp(-1, 1)
        .masked_fill(scale == 0, 0.0)
    )


def _relative_spread(angle: Tensor) -> Tensor:
    """1 - |mean of exp(2iθ)|² of every column; 0 where that is rounding."""
    resultant = (2 * angle).cos().mean(0).square() + (2 * angle).sin().mean(0).square()
    return torch.where(1 - resultant > _ROUNDING, 1 - resultant, 0.0)


def _exact(ratio: Tensor) -> Tensor:
    """Cosines or sines, those that are zero but for rounding zero."""
    return ratio.masked_fill(ratio.abs() <= _ROUNDING, 0.0)


def circular_linear_r2(x: Array, angle: Array) -> Tensor:
    """Squared multiple correlation of numbers with the cosine and sine of angles.

    R² = (r_xc² + r_xs² - 2 r_xc r_xs r_cs) / (1 - r_cs²), with r the correlations among x,
    c = cos θ and s = sin θ.

    Args:
        x: Numbers, shape (N, K).
        angle: Angles in radians, shape (N, D).

    Returns:
        Shape (K, D), in [0, 1]; 0 where x or the angle is constant.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples.

    References:
        Mardia 1976, Linear-circular correlation coefficients and rhythmometry, Biometrika 63.
    """
    numbers, theta = check_codes(x, angle)
    rows = len(numbers)
    linear, cos, sin = (standardize(x) for x in (numbers, _exact(theta.cos()), _exact(theta.sin())))
    r_c, r_s = linear.T @ cos / rows, linear.T @ sin / rows
    r_cs = (cos * sin).mean(0)
    free = 1 - r_cs.square()
    both = (r_c.square() + r_s.square() - 2 * r_c * r_s * r_cs) / free.clamp(min=_ROUNDING)
    # Two directions only: cosine and sine are one and the same number.
    one = torch.maximum(r_c.square(), r_s.square())
    return torch.where(free > _ROUNDING, both, one).clamp(0, 1)
