"""Codes and factors as every metric takes them: finite float64 columns, one row a sample."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "Array",
    "as_tensor",
    "average_ranks",
    "check_codes",
    "check_columns",
    "constant_columns",
    "mean_ranks",
    "sorted_groups",
    "integer_labels",
    "split_rows",
    "standardize",
    "to_rows",
]

Array: TypeAlias = Tensor | NDArray[Any]
"""What the metrics accept: a tensor on any device or a numpy array."""

# Below this spread, relative to the column's mean, float64 sums leave nothing but rounding.
_CONSTANT = 1e-12


def as_tensor(x: Array, name: str) -> Tensor:
    """Takes an array of real numbers as a tensor.

    Args:
        x: A tensor, a numpy array, or what numpy makes an array of (lists, data frames).
        name: What the array is called in messages.

    Returns:
        Tensors as they are; of all else a copy, because read-only, reversed and big-endian arrays
        are none that torch can wrap.

    Raises:
        ValueError: If values are masked, complex or no numbers.
    """
    if isinstance(x, Tensor):
        if x.is_complex():
            raise ValueError(f"{name} must be real numbers, got {x.dtype}")
        return x
    masked = int(np.ma.getmaskarray(x).sum()) if isinstance(x, np.ma.MaskedArray) else 0
    if masked:
        raise ValueError(
            f"{name} must have no masked values, got {masked}: leave their samples out of all "
            "arrays"
        )
    array = np.array(x, order="C")
    if array.dtype == object and hasattr(x, "to_numpy"):
        array = _of_table(x, name)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must be real numbers, got values of type {array.dtype}")
    if array.dtype.itemsize > 8 or (array.dtype.kind == "u" and array.dtype.itemsize > 1):
        return torch.from_numpy(array.astype(np.float64))  # long doubles, unsigned integers
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))


def _of_table(table: Any, name: str) -> NDArray[np.float64]:  # noqa: ANN401 - pandas is optional
    """Columns of a pandas table or series, whose nullable types numpy knows as objects only."""
    columns = {"": table}
    if hasattr(table, "columns"):
        columns = {f", column {key!r}": table.iloc[:, k] for k, key in enumerate(table.columns)}
    found = []
    for where, column in columns.items():
        missing = int(column.isna().sum())
        if missing:
            raise ValueError(
                f"{name}{where} must have no missing values, got {missing}: leave their samples "
                "out of all arrays"
            )
        try:
            # Times would convert to nanoseconds.
            values = np.asarray(column.to_numpy())
            if values.dtype.kind in "mM":
                raise TypeError(values.dtype)
            found.append(values.astype(np.float64))
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{name}{where} must be real numbers, got values of type {column.dtype}; of "
                "categories without an order, give numbers, as .cat.codes"
            ) from error
    return np.stack(found, axis=1) if hasattr(table, "columns") else found[0]


def check_columns(x: Array, name: str, *, minimum: int = 2) -> Tensor:
    """Takes an array of samples as float64 columns.

    Args:
        x: Shape (N, C), or (N,) for one column; any real dtype.
        name: What the array is called in messages.
        minimum: Fewest samples that will do.

    Returns:
        The same numbers, shape (N, C), float64, detached, on the CPU: scores wait for dozens of
        numbers, and not all devices have float64.

    Raises:
        ValueError: If the shape is another, samples are too few, or a value is masked, complex or
            not finite.
    """
    columns = as_tensor(x, name).detach().cpu().to(torch.float64)
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
    # A finite sum has finite terms and costs a third; the sum of finite ones can overflow.
    if not columns.sum().isfinite() and not (finite := columns.isfinite()).all():
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
        ``z`` (N, K) and ``factors`` (N, D), float64, detached, on the CPU.

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
    return latents, truth


def constant_columns(x: Tensor) -> Tensor:
    """Returns which columns are constant up to rounding.

    Args:
        x: Shape (N, C), float64.

    Returns:
        Shape (C,), bool: standard deviation ≤ 1e-12 · |mean|; no unit is preferred.
    """
    return _moments(x)[2]


def standardize(x: Tensor) -> Tensor:
    """Brings columns to mean 0 and standard deviation 1 (population, 1/N).

    Args:
        x: Shape (N, C), float64.

    Returns:
        Shape (N, C); constant columns (`constant_columns`) become 0.
    """
    centred, deviation, constant = _moments(x)
    return (centred / deviation.masked_fill(constant, 1.0)).masked_fill_(constant, 0.0)


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centred columns, their standard deviations and which of them are constant."""
    mean = x.mean(0)
    centred = x - mean
    # Several times faster than torch.std, and as exact once centred.
    deviation = centred.square().mean(0).sqrt()
    return centred, deviation, deviation <= _CONSTANT * mean.abs()


def sorted_groups(x: Tensor) -> tuple[Tensor, Tensor]:
    """Sorts every column and numbers its distinct values.

    Args:
        x: Shape (N, C).

    Returns:
        Row of the i-th smallest value, and number (from 0) of its value among the column's distinct
        values; both (C, N), int64.
    """
    columns = x.T.contiguous()
    # numpy's sort takes half the time of torch's on a CPU.
    order = (
        torch.from_numpy(np.argsort(columns.numpy(), axis=1))
        if columns.device.type == "cpu"
        else columns.argsort(dim=1)
    )
    values = columns.gather(1, order)
    rises = values[:, 1:] != values[:, :-1]
    if bool(rises.all()):
        return order, torch.arange(len(x), device=x.device).expand_as(order)
    groups = torch.zeros_like(order)
    torch.cumsum(rises, 1, out=groups[:, 1:])
    return order, groups


def mean_ranks(groups: Tensor) -> Tensor:
    """Ranks sorted values; equal values share the mean of their ranks.

    Args:
        groups: Numbers of the sorted values, shape (C, N), of `sorted_groups`.

    Returns:
        Ranks 1 to N in sorted order, shape (C, N), float64.
    """
    columns, rows = groups.shape
    if bool((groups[:, -1] == rows - 1).all()):
        ranks = torch.arange(1, rows + 1, dtype=torch.float64, device=groups.device)
        return ranks.expand(columns, rows)
    offset = torch.arange(columns, device=groups.device)[:, None] * rows
    counts = torch.bincount((groups + offset).flatten(), minlength=columns * rows)
    counts = counts.view(columns, rows).double()
    return (counts.cumsum(1) - 0.5 * (counts - 1)).gather(1, groups)


def to_rows(order: Tensor, values: Tensor) -> Tensor:
    """Brings sorted values back to their rows.

    Args:
        order: Rows in sorted order, shape (C, N), of `sorted_groups`.
        values: Values in sorted order, shape (C, N).

    Returns:
        Shape (N, C).
    """
    return torch.empty_like(order, dtype=values.dtype).scatter_(1, order, values).T


def average_ranks(x: Tensor) -> Tensor:
    """Ranks every column; equal values share the mean of their ranks.

    Args:
        x: Shape (N, C).

    Returns:
        Ranks 1 to N, shape (N, C), float64.
    """
    order, groups = sorted_groups(x)
    return to_rows(order, mean_ranks(groups))


def split_rows(
    rows: int,
    *,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
    largest: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Divides samples into those to fit on and those to score.

    Args:
        rows: Number of samples N.
        seed: Seeds the random division.
        test_fraction: Share of samples to score, at least two.
        n_train: Fit on the first ``n_train`` rows and score the others, without chance.
        largest: Most samples that a random division uses: of more, a random subset; None takes all.

    Returns:
        Rows to fit on and rows to score, int64.

    Raises:
        ValueError: If fewer than two samples would remain on a side.
    """
    if n_train is None and largest is not None and rows > largest:
        subset = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:largest]
        fit, score = split_rows(largest, seed=seed, test_fraction=test_fraction)
        return subset[fit], subset[score]
    if n_train is None:
        n_train = rows - max(2, round(rows * test_fraction))
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    else:
        order = torch.arange(rows)
    if not 2 <= n_train <= rows - 2:
        raise ValueError(
            f"fitting and scoring need at least 2 samples each, got {n_train} to fit on of {rows}"
        )
    return order[:n_train], order[n_train:]


def integer_labels(factors: Tensor) -> Tensor:
    """Takes factors as the class labels that a classifier needs.

    Args:
        factors: Shape (N, D), float64.

    Returns:
        The same numbers, int64.

    Raises:
        ValueError: If a number is no integer.
    """
    labels = factors.round()
    if not torch.equal(labels, factors):
        row, column = (int(i) for i in (labels != factors).nonzero()[0])
        raise ValueError(
            f"reference=True needs factors that are integer labels, got "
            f"{factors[row, column].item()} at row {row}, column {column}"
        )
    return labels.to(torch.int64)
