"""Codes and factors as every metric takes them: finite float64 columns, one row a sample."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["Array", "check_codes", "check_columns", "constant_columns", "standardize"]

Array: TypeAlias = Tensor | NDArray[Any]
"""What the metrics accept: a tensor on any device or a numpy array."""

# Below this spread, relative to the column's mean, float64 sums leave nothing but rounding.
_CONSTANT = 1e-12


def check_columns(x: Array, name: str, *, minimum: int = 2) -> Tensor:
    """Takes an array of samples as float64 columns.

    Args:
        x: Shape (N, C), or (N,) for one column; any real dtype.
        name: What the array is called in messages.
        minimum: Fewest samples that will do.

    Returns:
        The same numbers, shape (N, C), float64, detached, on the device of ``x``.

    Raises:
        ValueError: If the shape is another, samples are too few, or a number is not finite.
    """
    if isinstance(x, np.ndarray):
        # A copy: read-only and reversed arrays are none that torch can wrap.
        x = torch.from_numpy(np.array(x, dtype=np.float64, order="C"))
    columns = x.detach().to(torch.float64)
    if columns.ndim == 1:
        columns = columns[:, None]
    if columns.ndim != 2:
        raise ValueError(
            f"{name} must have shape (samples, columns) or (samples,), got {tuple(columns.shape)}"
        )
    if columns.shape[1] == 0:
        raise ValueError(f"{name} must have at least one column, got {tuple(columns.shape)}")
    if len(columns) < minimum:
        raise ValueError(f"{name} must have at least {minimum} samples, got {len(columns)}")
    finite = columns.isfinite()
    if not finite.all():
        row, column = (int(i) for i in (~finite).nonzero()[0])
        raise ValueError(
            f"{name} must be finite, got {columns[row, column].item()} at row {row}, "
            f"column {column}"
        )
    return columns


def check_codes(z: Array, factors: Array, *, minimum: int = 2) -> tuple[Tensor, Tensor]:
    """Takes latents and factors as float64 columns of the same samples.

    Args:
        z: Latents, shape (N, K), or (N,) for one latent; any real dtype.
        factors: True factors, shape (N, D), or (N,) for one factor.
        minimum: Fewest samples that will do.

    Returns:
        ``z`` (N, K) and ``factors`` (N, D), float64, detached, on the device of ``z``.

    Raises:
        ValueError: If a shape is another, the lengths differ, samples are too few, or a number
            is not finite.
    """
    latents = check_columns(z, "z", minimum=minimum)
    truth = check_columns(factors, "factors", minimum=minimum)
    if len(latents) != len(truth):
        raise ValueError(
            f"z and factors must have as many samples, got {len(latents)} and {len(truth)}"
        )
    return latents, truth.to(latents.device)


def constant_columns(x: Tensor) -> Tensor:
    """Says which columns hold one number and rounding only.

    Args:
        x: Shape (N, C), float64.

    Returns:
        Shape (C,), bool: standard deviation ≤ 1e-12 · max(1, |mean|).
    """
    return x.std(0, correction=0) <= _CONSTANT * x.mean(0).abs().clamp(min=1.0)


def standardize(x: Tensor) -> Tensor:
    """Brings columns to mean 0 and standard deviation 1 (population, 1/N).

    Args:
        x: Shape (N, C), float64.

    Returns:
        Shape (N, C); constant columns (`constant_columns`) become 0.
    """
    centred = x - x.mean(0)
    constant = constant_columns(x)
    scale = centred.square().mean(0).sqrt().masked_fill(constant, 1.0)
    return (centred / scale).masked_fill(constant, 0.0)
