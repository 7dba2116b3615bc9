from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from cryo_disentangle.judgement.gathering import GatheredRows


@given(st.lists(st.integers(1, 3), max_size=100))
def test_rows_come_in_the_order_of_the_batches(sizes: list[int]) -> None:
    values = torch.arange(2 * sum(sizes)).view(-1, 2)
    gathered = GatheredRows()
    for part in values.split(sizes):
        gathered.add({"pairs": part, "first": part[:, 0]})
    columns = gathered.columns()
    assert bool(columns) == bool(sizes)
    if columns:
        assert torch.equal(columns["pairs"], values)
        assert torch.equal(columns["first"], values[:, 0])
