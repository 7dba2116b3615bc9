"""Whether volumes, and how many particles have each, are those of the truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.optimize
import scipy.sparse
import torch
from torch import Tensor

from cryo_disentangle.imaging.fsc import fourier_shell_correlation
from cryo_disentangle.metrics.functional.codes import Array, as_tensor

__all__ = ["earth_movers_distance", "fsc_area"]


def fsc_area(first: Tensor, second: Tensor, mask: Tensor | None = None) -> float:
    """Area under the Fourier shell correlation of two volumes, as CryoBench takes it.

    The absolute correlation of shells r = 0 .. D/2 - 1 over the frequency r / D in cycles per
    pixel, by the trapezoid rule. The mean over images, of the volume that a method gives an image
    and the volume that the image is of, is CryoBench's per-image FSC.

    Edge cases: volumes that differ by a factor, whatever its sign, have the largest area; a shell
    in which a volume is zero adds nothing.

    Args:
        first: Shape (D, D, D).
        second: Shape (D, D, D).
        mask: Multiplies both, shape (D, D, D); None is no mask.

    Returns:
        From 0 to (D/2 - 1) / D, a little below 0.5.

    Raises:
        ValueError: If the volumes are not cubes of equal side.

    References:
        Jeon et al., CryoBench, NeurIPS 2024 (arXiv 2408.05526), section 4.
    """
    if mask is not None:
        first, second = first * mask, second * mask
    # Of a box of two pixels or none there is no shell but the mean.
    correlation = fourier_shell_correlation(first, second)[:-1].abs()
    return float(torch.trapezoid(correlation, dx=1 / first.shape[-1]))


def earth_movers_distance(first: Array, second: Array, cost: Array) -> float:
    """Least cost of making one distribution over states of another one.

    min Σ_ij T_ij cost_ij over plans T ≥ 0 whose rows sum to the first weights and whose columns
    sum to the second ones. Where the cost is a distance it is the Wasserstein-1 distance.

    Args:
        first: Weights of M states, shape (M,); they are divided by their sum.
        second: Weights of N states, shape (N,), likewise.
        cost: Of moving weight from one to the other, shape (M, N).

    Returns:
        The cost, in the unit of ``cost``.

    Raises:
        ValueError: If weights are negative or all zero, shapes disagree, or a number is not finite.

    References:
        Rubner, Tomasi and Guibas, The earth mover's distance as a metric for image retrieval, IJCV
        40, 2000; of cryo-EM populations in the Flatiron heterogeneity challenge (Astore et al.
        2025).
    """
    here, there = (_weights(each, name) for each, name in ((first, "first"), (second, "second")))
    costs = as_tensor(cost, "cost").double().numpy()
    if costs.shape != (len(here), len(there)) or not np.isfinite(costs).all():
        raise ValueError(
            f"cost must be finite numbers of shape ({len(here)}, {len(there)}), as there are "
            f"weights, found shape {costs.shape}"
        )
    rows = scipy.sparse.kron(scipy.sparse.eye(len(here)), np.ones((1, len(there))))
    columns = scipy.sparse.kron(np.ones((1, len(here))), scipy.sparse.eye(len(there)))
    # One constraint follows from the others. scipy's types know no sparse ones.
    constraints: Any = scipy.sparse.vstack([rows, columns]).tocsr()[:-1]
    found = scipy.optimize.linprog(
        costs.ravel(),
        A_eq=constraints,
        b_eq=np.concatenate([here, there])[:-1],
        method="highs",
    )
    return float(found.fun or 0.0)


def _weights(given: Array, name: str) -> np.ndarray:
    """Weights that sum to one."""
    found = as_tensor(given, name).double().numpy()
    if found.ndim != 1 or not np.isfinite(found).all() or (found < 0).any() or not found.sum() > 0:
        raise ValueError(
            f"{name}: weights of shape (N,), not negative and not all zero, expected, found shape "
            f"{found.shape} from {found.min(initial=0):g} to {found.max(initial=0):g}"
        )
    weights: np.ndarray = found / found.sum()
    return weights
