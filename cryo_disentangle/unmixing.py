"""Linear unmixing, so that diagnostics judge the data and not the latents' orientation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["fourth_cumulants", "halves", "joint_diagonalizer", "significance", "whitener"]

# A coordinate with less than this share of the largest standard deviation is numerically constant.
_SMALLEST_SHARE = 1e-4
_FALSE_ALARMS = 0.01


def significance(comparisons: int) -> float:
    """Number of standard errors beyond which a difference is no accident.

    Args:
        comparisons: How many differences are looked at.

    Returns:
        Two-sided normal quantile of a false alarm in 100 looks at all of them (Bonferroni).
    """
    level = torch.tensor(1 - _FALSE_ALARMS / (2 * max(comparisons, 1)), dtype=torch.float64)
    return float(torch.special.ndtri(level))


def halves(samples: Tensor) -> tuple[Tensor, Tensor]:
    """Splits samples at random into two halves, the same ones every time.

    Args:
        samples: Shape (N, Z).

    Returns:
        Shapes (N // 2, Z) and (N - N // 2, Z).
    """
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    shuffled = samples[order.to(samples.device)]
    return shuffled[: len(samples) // 2], shuffled[len(samples) // 2 :]


def whitener(covariance: Tensor) -> Tensor:
    """Symmetric inverse square root of a covariance.

    Args:
        covariance: Shape (Z, Z), float64.

    Returns:
        W with W C Wᵀ = 1, shape (Z, Z).

    Raises:
        ValueError: If a coordinate, or a sum of some, does not vary.
    """
    variances = covariance.diagonal()
    constant = (variances <= _SMALLEST_SHARE**2 * variances.max()).nonzero().flatten()
    if len(constant):
        raise ValueError(
            f"coordinates {constant.tolist()} of the latents (counted from 0) do not vary: leave "
            "them out"
        )
    scale = variances.rsqrt()
    # Coordinates of different units are compared by their correlations.
    values, vectors = torch.linalg.eigh(scale[:, None] * covariance * scale)
    if values[0] <= _SMALLEST_SHARE**2:
        raise ValueError("coordinates of the latents are linear functions of each other")
    return (vectors * values.rsqrt()) @ vectors.T * scale


def _turn(matrices: Tensor, first: int, second: int) -> tuple[float, float]:
    """Cosine and sine of the turn in a plane that makes the matrices most diagonal there."""
    difference = matrices[:, first, first] - matrices[:, second, second]
    off = 2 * matrices[:, first, second]
    balance = float((difference.square() - off.square()).sum())
    product = 2 * float((difference * off).sum())
    angle = 0.5 * math.atan2(product, balance + math.hypot(balance, product))
    return math.cos(angle), math.sin(angle)


def joint_diagonalizer(matrices: Tensor) -> Tensor:
    """Orthogonal matrix that makes symmetric matrices as diagonal as can be, all at once.

    Args:
        matrices: Shape (M, Z, Z), float64.

    Returns:
        U whose rows are the axes, shape (Z, Z): U Mᵢ Uᵀ are nearly diagonal.

    References:
        Cardoso and Souloumiac 1996, Jacobi angles for simultaneous diagonalization.
    """
    matrices = matrices.clone()
    width = matrices.shape[-1]
    axes = torch.eye(width, dtype=matrices.dtype, device=matrices.device)
    for _ in range(50):
        largest = 0.0
        for first in range(width):
            for second in range(first + 1, width):
                cos, sin = _turn(matrices, first, second)
                largest = max(largest, abs(sin))
                plane = [first, second]
                turn = matrices.new_tensor([[cos, sin], [-sin, cos]])
                matrices[:, plane] = turn @ matrices[:, plane]
                matrices[:, :, plane] = matrices[:, :, plane] @ turn.T
                axes[plane] = turn @ axes[plane]
        if largest < 1e-9:
            break
    return axes


def fourth_cumulants(whitened: Tensor) -> Tensor:
    """Fourth-order cumulants as matrices, all diagonal in the axes of independent variables.

    For each k <= l: E[x_k x_l x xᵀ] - δ_kl 1 - (e_k e_lᵀ + e_l e_kᵀ).

    Args:
        whitened: Samples of zero mean and unit covariance, shape (N, Z), float64.

    Returns:
        Shape (Z (Z + 1) / 2, Z, Z).

    References:
        Cardoso and Souloumiac 1993, Blind beamforming for non-Gaussian signals (JADE).
    """
    width = whitened.shape[1]
    identity = torch.eye(width, dtype=whitened.dtype, device=whitened.device)
    matrices = []
    for first in range(width):
        for second in range(first, width):
            weight = whitened[:, first] * whitened[:, second]
            moment = (whitened * weight[:, None]).T @ whitened / len(whitened)
            outer = torch.outer(identity[first], identity[second])
            matrices.append(moment - identity * float(first == second) - outer - outer.T)
    return torch.stack(matrices)
