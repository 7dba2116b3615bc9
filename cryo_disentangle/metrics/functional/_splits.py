"""Rows to learn from and rows to judge by; labels for the probes that classify."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional import codes

__all__ = ["integer_labels", "split_rows"]


def split_rows(
    rows: int,
    *,
    largest: int,
    seed: int = 0,
    test_fraction: float = 1 / 3,
    n_train: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Divides samples as `codes.split_rows` does, or a random subset of too many.

    Args:
        rows: Number of samples N.
        largest: Most samples that a random division uses.
        seed: Seeds the random division.
        test_fraction: Share of samples to score.
        n_train: Fit on the first ``n_train`` rows and score all the others, without chance.

    Returns:
        Rows to fit on and rows to score, int64.

    Raises:
        ValueError: If fewer than two samples would remain on a side.
    """
    if n_train is not None or rows <= largest:
        return codes.split_rows(rows, seed=seed, test_fraction=test_fraction, n_train=n_train)
    subset = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))[:largest]
    fit, score = codes.split_rows(largest, seed=seed, test_fraction=test_fraction)
    return subset[fit], subset[score]


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
