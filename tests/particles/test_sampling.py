from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.sampling import (
    BatchesInOrder,
    InOrder,
    ParticleLoader,
    ShuffledEpochs,
    evaluation_loader,
    split_indices,
)
from tests.particles.conftest import Files, flat


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
    with pytest.raises(ValueError, match=r"2 training samples are too few for 3 processes"):
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
        with pytest.raises(ValueError, match=rf"{count} validation samples are too few for"):
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


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 4))
@settings(max_examples=60)
def test_no_training_particle_is_left_alone(
    tmp_path_factory: pytest.TempPathFactory, count: int, batch_size: int, world_size: int
) -> None:
    dataset = ParticleDataset(ParticleStack.open(_small(tmp_path_factory).stack))
    if count < world_size:
        return
    sizes = []
    for rank in range(world_size):
        order = ShuffledEpochs(np.arange(count) % 12, 0, rank, world_size)
        loader = ParticleLoader(dataset, order, batch_size)
        sizes.append([len(batch["index"]) for batch in loader])
        assert len(loader) == len(sizes[-1])
    assert all(part == sizes[0] for part in sizes)
    assert sum(sizes[0]) == count // world_size
    assert set(sizes[0][:-1]) <= {batch_size}
    assert sizes[0][-1] <= batch_size + (batch_size > 1)
    if batch_size > 1 and len(sizes[0]) > 1:
        assert min(sizes[0]) > 1


def _loader(files: Files, batch_size: int) -> ParticleLoader:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    return ParticleLoader(dataset, ShuffledEpochs(np.arange(12), 0), batch_size)


def _epochs(loader: ParticleLoader, epochs: range) -> list[list[int]]:
    seen: list[list[int]] = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        seen.extend(batch["index"].tolist() for batch in loader)
    return seen


@given(batch_size=st.sampled_from([1, 5, 11, 12, 20]), stop=st.integers(0, 24))
@settings(max_examples=20)
def test_a_restored_loader_goes_on_with_the_next_batch(
    tmp_path_factory: pytest.TempPathFactory, batch_size: int, stop: int
) -> None:
    files = _small(tmp_path_factory)
    whole = _epochs(_loader(files, batch_size), range(3))
    per_epoch = len(whole) // 3
    epoch, done = divmod(min(stop, len(whole) - 1), per_epoch)
    first = _loader(files, batch_size)
    _epochs(first, range(epoch))
    first.sampler.set_epoch(epoch)
    list(islice(first, done))
    state = first.state_dict()
    assert state == {"epoch": epoch, "batches": done}
    second = _loader(files, batch_size)
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert len(second) == per_epoch
    assert _epochs(second, range(epoch, 3)) == whole[epoch * per_epoch + done :]


def _small(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("stack")
    images = np.random.default_rng(0).standard_normal((12, 4, 4), dtype=np.float32)
    with MrcsWriter(folder / "stack.mrcs", 4, 1.0) as writer:
        writer.write(images)
    empty = np.zeros(0, dtype=np.float32)
    return Files(folder, images, empty, empty, empty)


def test_a_state_of_another_epoch_is_not_taken(files: Files) -> None:
    loader = _loader(files, 5)
    loader.load_state_dict({"epoch": 0, "batches": 2})
    loader.sampler.set_epoch(1)
    assert loader.state_dict() == {"epoch": 1, "batches": 0}
    assert sum(len(batch["index"]) for batch in loader) == 12


@pytest.mark.parametrize("batch_size", [5, 11])
def test_a_state_at_the_end_of_an_epoch_has_nothing_left(files: Files, batch_size: int) -> None:
    first, second = _loader(files, batch_size), _loader(files, batch_size)
    _epochs(first, range(1))
    second.load_state_dict(first.state_dict())
    assert _epochs(second, range(1)) == []


def test_loaders_leave_the_global_generators_alone(files: Files) -> None:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    torch.manual_seed(0)
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    before = torch.get_rng_state(), random.getstate(), str(state)
    list(_loader(files, 5))
    list(evaluation_loader(dataset, InOrder(np.arange(12), 0, 1), 5))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state(legacy=False)) == before[2]  # noqa: NPY002


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_deliver_the_same(files: Files) -> None:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    here = ParticleLoader(dataset, ShuffledEpochs(np.arange(12), 0), 5)
    there = ParticleLoader(dataset, ShuffledEpochs(np.arange(12), 0), 5, num_workers=1)
    assert _epochs(there, range(3)) == _epochs(here, range(3))
    there.load_state_dict({"epoch": 1, "batches": 1})
    here.load_state_dict({"epoch": 1, "batches": 1})
    assert _epochs(there, range(1, 3)) == _epochs(here, range(1, 3))
