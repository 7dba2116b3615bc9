"""Latents of samples that share one factor: made with an encoder, or found among stored ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.codes import (
    Array,
    check_codes,
    check_columns,
    split_rows,
)

__all__ = [
    "DrawFactors",
    "Encode",
    "Interventions",
    "Simulated",
    "Stored",
    "choose_factors",
    "divide_codes",
]

# Latents held at once while interventions are made.
_ROWS_AT_ONCE = 65_536
# Fewest stored samples a bin, so that the third that judges still holds pairs.
_BIN_SAMPLES = 6

Encode: TypeAlias = Callable[[Tensor], Tensor]
"""Latents of samples with given factors: (N, D) to (N, K)."""

DrawFactors: TypeAlias = Callable[[int, torch.Generator], Tensor]
"""Draws the factors of so many independent samples, shape (count, D)."""


class Interventions(Protocol):
    """Where samples that share one factor come from.

    Attributes:
        generator: Source of all chance.
    """

    generator: torch.Generator

    @property
    def factors(self) -> int:
        """Number of factors D."""
        ...

    def pairs(self, index: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Latents of pairs that share a factor.

        Args:
            index: Which factor each intervention fixes, shape (P,).
            batch: Pairs L of an intervention; each pair has a value of its own.

        Returns:
            Latents of either member, shape (P, L, K).
        """
        ...

    def batches(self, index: Tensor, batch: int) -> Tensor:
        """Latents of batches that share a factor.

        Args:
            index: Which factor each intervention fixes, shape (P,).
            batch: Samples L of an intervention; all have one value.

        Returns:
            Latents, shape (P, L, K).
        """
        ...


class Simulated:
    """Samples are made: factors drawn, one of them fixed, and encoded."""

    def __init__(self, encode: Encode, draw_factors: DrawFactors, seed: int) -> None:
        self._encode = encode
        self._draw_factors = draw_factors
        self.generator = torch.Generator().manual_seed(seed)
        self.factors = self.draw(1).shape[1]

    def draw(self, count: int) -> Tensor:
        """Factors of independent samples, shape (count, D)."""
        return self._draw_factors(count, self.generator)

    def encode(self, factors: Tensor) -> Tensor:
        """Latents of samples with these factors, (..., D) to (..., K), float64."""
        rows = factors.reshape(-1, factors.shape[-1])
        codes = check_columns(self._encode(rows), "encode(factors)", minimum=1)
        if len(codes) != len(rows):
            raise ValueError(
                f"encode(factors) must have a row a sample, got {len(codes)} for {len(rows)}"
            )
        return codes.reshape(*factors.shape[:-1], -1)

    def pairs(self, index: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Latents of pairs that share a factor; see `Interventions`."""
        first, second = self._independent(index, batch), self._independent(index, batch)
        fixed = index.to(first.device)[:, None, None].expand(-1, batch, 1)
        return self.encode(first), self.encode(second.scatter(2, fixed, first.gather(2, fixed)))

    def batches(self, index: Tensor, batch: int) -> Tensor:
        """Latents of batches that share a factor; see `Interventions`."""
        samples = self._independent(index, batch)
        fixed = index.to(samples.device)[:, None, None].expand(-1, batch, 1)
        shared = samples[:, :1].expand_as(samples)
        return self.encode(samples.scatter(2, fixed, shared.gather(2, fixed)))

    def _independent(self, index: Tensor, batch: int) -> Tensor:
        """Factors of independent samples, shape (P, L, D)."""
        return self.draw(len(index) * batch).reshape(len(index), batch, -1)


class Stored:
    """Samples are found: those in one bin of a factor pass for samples that share it."""

    def __init__(self, z: Tensor, factors: Tensor, bins: int, seed: int) -> None:
        self._z = z
        self.generator = torch.Generator().manual_seed(seed)
        self._labels = bin_codes(factors, bins).T.contiguous().cpu()  # (D, N)
        self._order = self._labels.argsort(dim=1, stable=True)
        self._place = self._order.argsort(dim=1)  # of each row in its factor's order
        sizes = torch.stack([row.bincount(minlength=bins) for row in self._labels])
        self._sizes, self._starts = sizes, sizes.cumsum(1) - sizes
        self.factors = len(self._labels)

    def pairs(self, index: Tensor, batch: int) -> tuple[Tensor, Tensor]:
        """Latents of pairs that share a factor; see `Interventions`."""
        fixed = index[:, None]
        rows = self._pick((len(index), batch))
        start, size = self._bin(fixed, rows)
        step = 1 + self._below(size - 1)  # never onto the row itself, unless it is alone
        place = start + (self._place[fixed, rows] - start + step) % size
        return self._codes(rows), self._codes(self._order[fixed, place])

    def batches(self, index: Tensor, batch: int) -> Tensor:
        """Latents of batches that share a factor; see `Interventions`."""
        fixed = index[:, None]
        start, size = self._bin(fixed, self._pick((len(index), 1)))
        place = start + self._below(size.expand(-1, batch))
        return self._codes(self._order[fixed, place])

    def _pick(self, shape: tuple[int, int]) -> Tensor:
        """Random rows."""
        return torch.randint(self._labels.shape[1], shape, generator=self.generator)

    def _bin(self, fixed: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where the rows' bins start in the order of the fixed factors, and their sizes."""
        label = self._labels[fixed, rows]
        return self._starts[fixed, label], self._sizes[fixed, label]

    def _below(self, limits: Tensor) -> Tensor:
        """Random integers from 0 to below the limits (0 for a limit of 0)."""
        uniform = torch.rand(limits.shape, generator=self.generator, dtype=torch.float64)
        return (uniform * limits).long()

    def _codes(self, rows: Tensor) -> Tensor:
        """Latents of rows, shape (..., K)."""
        return self._z[rows.to(self._z.device)]


def divide_codes(z: Array, factors: Array, *, bins: int, seed: int) -> tuple[Stored, Stored]:
    """Divides stored samples into two thirds to learn from and a third to judge by.

    Args:
        z: Latents, shape (N, K).
        factors: True factors, shape (N, D).
        bins: Bins of a factor; fewer if a bin would hold less than 6 samples.
        seed: Seeds the division and the interventions.

    Returns:
        Both parts.

    Raises:
        ValueError: If the arrays are no finite columns of the same samples, or fewer than 12.
    """
    latents, truth = check_codes(z, factors, minimum=2 * _BIN_SAMPLES)
    bins = min(bins, len(latents) // _BIN_SAMPLES)
    fit, judge = split_rows(len(latents), seed=seed)
    return (
        Stored(latents[fit], truth[fit], bins, seed),
        Stored(latents[judge], truth[judge], bins, seed + 1),
    )


def choose_factors(source: Interventions, points: int, batch: int) -> Iterator[Tensor]:
    """Chooses which factors to fix, in parts whose latents fit into memory.

    Args:
        source: Of the samples.
        points: Number of interventions.
        batch: Samples an intervention.

    Yields:
        Uniformly drawn factors, shapes (P,), int64, ``points`` in all.
    """
    index = torch.randint(source.factors, (points,), generator=source.generator)
    yield from index.split(max(1, _ROWS_AT_ONCE // batch))
