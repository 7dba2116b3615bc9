from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryo_disentangle.particles import ShuffledEpochs, split_indices
from cryo_disentangle.particles.sampling import BatchesInOrder, InOrder
from tests.particles.conftest import flat


@given(st.integers(1, 300), st.floats(0, 0.9), st.integers(0, 100))
def test_a_split_is_a_partition(count: int, fraction: float, seed: int) -> None:
    if round(count * fraction) == count:
        return
    training, validation = split_indices(count, fraction, seed)
    assert len(validation) == round(count * fraction)
    assert sorted([*training, *validation]) == list(range(count))
    assert (np.diff(training) > 0).all()
    assert (np.diff(validation) > 0).all()
    again = split_indices(count, fraction, seed)
    np.testing.assert_array_equal(again[1], validation)


def test_splits_differ_by_seed() -> None:
    assert split_indices(100, 0.5, 0)[1].tolist() != split_indices(100, 0.5, 1)[1].tolist()


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_odd_fractions_are_refused(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"validation_fraction must be in \[0, 1\), found"):
        split_indices(10, fraction, 0)


def test_training_needs_particles() -> None:
    with pytest.raises(ValueError, match=r"0\.9 leaves none of 1 particles for training"):
        split_indices(1, 0.9, 0)
    with pytest.raises(ValueError, match=r"2 training particles are too few for 3 processes"):
        ShuffledEpochs(np.arange(2), 0, 0, 3)


@given(st.integers(1, 60), st.integers(1, 5))
def test_ranks_go_through_all_in_order_without_padding(count: int, world_size: int) -> None:
    indices = np.arange(count) * 3
    shards = [InOrder(indices, rank, world_size) for rank in range(world_size)]
    seen = [list(shard) for shard in shards]
    assert [len(shard) for shard in shards] == [len(part) for part in seen]
    assert sorted(flat(seen)) == indices.tolist()
    assert all(part == sorted(part) for part in seen)


@given(st.integers(1, 60), st.integers(1, 9), st.integers(1, 7))
def test_ranks_take_as_many_validation_steps(count: int, batch_size: int, world_size: int) -> None:
    indices = np.arange(count) * 3
    if count < world_size:
        with pytest.raises(ValueError, match=rf"{count} validation particles are too few for"):
            BatchesInOrder(indices, batch_size, 0, world_size)
        return
    shards = [BatchesInOrder(indices, batch_size, rank, world_size) for rank in range(world_size)]
    seen = [list(shard) for shard in shards]
    assert {len(batches) for batches in seen} == {len(shard) for shard in shards} == {len(seen[0])}
    batches = flat(seen)
    assert sorted(flat(batches)) == indices.tolist()
    assert min(len(batch) for batch in batches) > 0
    assert max(len(batch) for batch in batches) <= max(batch_size, 2)
    if world_size == 1:
        assert batches == [
            part.tolist() for part in np.split(indices, range(batch_size, count, batch_size))
        ]


@given(st.integers(5, 60), st.integers(1, 5), st.integers(0, 5), st.integers(0, 5))
def test_ranks_train_on_equal_shares(count: int, world_size: int, seed: int, epoch: int) -> None:
    shards = [
        ShuffledEpochs(np.arange(count), seed, rank, world_size) for rank in range(world_size)
    ]
    for shard in shards:
        shard.set_epoch(epoch)
    seen = [list(shard) for shard in shards]
    assert {len(part) for part in seen} == {count // world_size}
    assert len(set(flat(seen))) == count // world_size * world_size
    assert [list(shard) for shard in shards] == seen


def test_every_epoch_has_its_order() -> None:
    sampler = ShuffledEpochs(np.arange(50), 0)
    orders = []
    for epoch in range(3):
        sampler.set_epoch(epoch)
        orders.append(tuple(sampler))
    assert len(set(orders)) == 3
    assert tuple(ShuffledEpochs(np.arange(50), 1)) not in orders


def test_overfitting_keeps_one_order() -> None:
    sampler = ShuffledEpochs(np.arange(50), 0, fixed=True)
    first = list(sampler)
    sampler.set_epoch(3)
    assert list(sampler) == first
