"""The table of latents: looked up, learned row by row, and no further than it reaches."""

from __future__ import annotations

import pytest
import torch

from cryo_disentangle.encoders import LatentTable


def test_rows_are_looked_up() -> None:
    table = LatentTable(5, 2)
    index = torch.tensor([3, 0, 3])
    mean, log_variance = table(index)
    assert torch.equal(mean, table.mean[index])
    assert log_variance.tolist() == [[0.0, 0.0]] * 3
    assert float(table.mean.detach().std()) < 0.3
    assert len(table.mean.unique()) == 10


def test_only_rows_of_the_batch_get_a_gradient() -> None:
    table = LatentTable(4, 3)
    mean, log_variance = table(torch.tensor([1, 1]))
    (mean.sum() + 2 * log_variance.sum()).backward()
    expected = torch.zeros(4, 3)
    expected[1] = 2
    assert table.mean.grad is not None
    assert table.log_variance.grad is not None
    assert torch.equal(table.mean.grad, expected)
    assert torch.equal(table.log_variance.grad, 2 * expected)
    assert not table.mean.grad.is_sparse


@pytest.mark.parametrize("row", [-1, 4])
def test_particles_outside_the_table_are_refused(row: int) -> None:
    with pytest.raises(ValueError, match=rf"holds 4 particles, found particle {row} "):
        LatentTable(4, 2)(torch.tensor([0, row]))


@pytest.mark.parametrize(("count", "dim"), [(0, 2), (3, 0)])
def test_empty_tables_are_refused(count: int, dim: int) -> None:
    with pytest.raises(ValueError, match=f"found n_particles={count}, conformation_dim={dim}"):
        LatentTable(count, dim)


def test_a_visit_moves_a_row_by_at_most_thirty_learning_rates() -> None:
    """What the docstring says of Adam between two visits."""
    table = LatentTable(2, 1)
    optimizer = torch.optim.Adam(table.parameters(), lr=1e-3)
    for step in range(3000):
        optimizer.zero_grad()
        table(torch.tensor([int(step == 2000)]))[0].sum().backward()
        if step == 2000:
            before = table.mean[1].item()
        optimizer.step()
    moved = abs(table.mean[1].item() - before) / 1e-3
    assert 10 < moved < 35
