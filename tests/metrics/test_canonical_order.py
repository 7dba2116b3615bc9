"""The order of samples by their contents."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.canonical_order import canonical_order


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), rows=st.integers(1, 50), columns=st.integers(1, 4))
def test_order_of_arrival_is_nothing(seed: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(rows, columns, generator=generator).round(decimals=1)
    factors = torch.randint(3, (rows, 2), generator=generator)
    shuffle = torch.randperm(rows, generator=generator)
    order, other = canonical_order(z, factors), canonical_order(z[shuffle], factors[shuffle])
    assert order.sort().values.tolist() == list(range(rows))
    assert torch.equal(z[order], z[shuffle][other])
    assert torch.equal(factors[order], factors[shuffle][other])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_order_does_not_follow_the_numbers(dtype: torch.dtype) -> None:
    # The key of coarse numbers must not collide or sort them: either would tell halves apart.
    z = torch.arange(256, dtype=torch.float64).to(dtype)[:, None]
    order = canonical_order(z, z).double()
    correlation = torch.corrcoef(torch.stack([order, torch.arange(256.0).double()]))[0, 1]
    assert abs(correlation) < 0.2


def test_latents_order_samples_of_equal_factors_only() -> None:
    generator = torch.Generator().manual_seed(0)
    z, factors = torch.randn(2, 50, 3, generator=generator)
    assert torch.equal(canonical_order(z, factors), canonical_order(-2 * z[:, :1], factors))
    factors[:25] = 0.0
    one, other = canonical_order(z, factors), canonical_order(-2 * z[:, :1], factors)
    assert not torch.equal(one, other)
    assert torch.equal(factors[one], factors[other])


def test_every_column_counts() -> None:
    # Rows that differ in the last factor alone, all bits of float32 that are zero included.
    z = torch.zeros(64, 3)
    factors = torch.cat([torch.zeros(64, 1), torch.arange(64.0)[:, None]], dim=1)
    shuffle = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    found = canonical_order(z, factors[shuffle])
    assert torch.equal(factors[shuffle][found], factors[canonical_order(z, factors)])
