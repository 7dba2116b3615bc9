"""Rows to learn from and rows to judge by; labels for the probes that classify."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["integer_labels", "split_rows"]


def split_rows(
    samples: int,
    *,
    seed: int,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
    largest: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Splits row numbers into training and test rows.

    Args:
        samples: Number of rows N.
        seed: Seed of the random split.
        test_fraction: Share of rows held out, in (0, 1).
        n_train: If given, the first so many rows train and all the others test.
        largest: If given, a random split uses at most so many rows.

    Returns:
        Numbers of the training and of the test rows, int64, on the CPU.

    Raises:
        ValueError: If either part would be empty.
    """
    if n_train is None:
        if not 0 < test_fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
        rows = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))[:largest]
        n_train = len(rows) - max(1, round(len(rows) * test_fraction))
    else:
        rows = torch.arange(samples)
    if not 0 < n_train < samples:
        raise ValueError(
            f"training rows must leave some of {samples} samples to test on, got {n_train}"
        )
    return rows[:n_train], rows[n_train:]


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
