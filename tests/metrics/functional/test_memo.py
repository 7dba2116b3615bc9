"""The memory of one call."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.metrics.functional._memo import remember_last


def test_same_arguments_are_computed_once() -> None:
    calls = []

    @remember_last
    def total(x: Tensor, *, scale: float = 1.0, weights: Tensor | None = None) -> Tensor:
        calls.append(scale)
        return x.sum() * scale if weights is None else (x * weights).sum() * scale

    x = torch.arange(6.0).bfloat16()
    assert [float(total(x)), float(total(x.clone()))] == [15.0, 15.0]
    assert len(calls) == 1
    assert float(total(x, scale=2.0)) == 30.0
    assert len(calls) == 2
    # Shape, type, values and options all count, each alone.
    total(x.reshape(2, 3), scale=2.0)
    total(x.float(), scale=2.0)
    total(x + 1, scale=2.0)
    total(x, weights=torch.ones(6))
    total(x, weights=torch.cat([torch.ones(5), torch.zeros(1)]))
    assert len(calls) == 7
    # Only the last one is kept.
    total(x)
    assert len(calls) == 8


def test_rows_of_a_larger_array() -> None:
    calls = []

    @remember_last
    def first(x: Tensor) -> Tensor:
        calls.append(1)
        return x[0]

    x = torch.arange(12).reshape(4, 3).T
    assert not x.is_contiguous()
    assert torch.equal(first(x), first(x.contiguous()))
    assert len(calls) == 1
