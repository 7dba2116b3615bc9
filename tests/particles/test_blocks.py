"""Block-shuffled epochs: each particle once, the same again, few seeks."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import ParticleData, ParticleStack
from cryo_disentangle.particles.blocks import _BLOCKS_PER_WINDOW, BlockShuffledEpochs
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.sampling import ParticleLoader
from tests.particles.conftest import N_IMAGES, Files, flat


def _epoch(sampler: BlockShuffledEpochs, epoch: int = 0, start: int = 0) -> list[int]:
    sampler.set_epoch(epoch)
    sampler.start = start
    return list(sampler)


@given(
    st.integers(1, 400), st.integers(1, 20), st.integers(1, 5), st.integers(0, 5), st.integers(0, 5)
)
@settings(max_examples=100)
def test_ranks_go_through_equal_shares_once(
    count: int, block: int, world_size: int, seed: int, epoch: int
) -> None:
    if count < world_size:
        return
    indices = np.arange(count) * 3
    ranks = [
        BlockShuffledEpochs(indices, seed, block, rank, world_size) for rank in range(world_size)
    ]
    seen = [_epoch(rank, epoch) for rank in ranks]
    assert {len(part) for part in seen} == {len(rank) for rank in ranks} == {count // world_size}
    assert len(set(flat(seen))) == count // world_size * world_size
    assert set(flat(seen)) <= set(indices.tolist())
    assert [_epoch(rank, epoch) for rank in ranks] == seen


@given(st.integers(1, 400), st.integers(1, 12), st.integers(0, 400))
@settings(max_examples=50)
def test_an_epoch_goes_on_where_it_stopped(count: int, block: int, start: int) -> None:
    sampler = BlockShuffledEpochs(np.arange(count), 0, block)
    assert _epoch(sampler, 2, min(start, count)) == _epoch(sampler, 2)[min(start, count) :]


@given(st.integers(1, 2000), st.integers(1, 12), st.integers(1, 3))
@settings(max_examples=50)
def test_a_window_is_of_few_runs_and_announced_before(
    count: int, block: int, world_size: int
) -> None:
    if count < world_size:
        return
    announced: list[npt.NDArray[np.int64]] = []
    window = block * _BLOCKS_PER_WINDOW
    sampler = BlockShuffledEpochs(
        np.arange(count), 0, block, world_size - 1, world_size, prefetch=announced.append
    )
    for position, index in enumerate(sampler):
        assert index in announced[position // window]
        assert len(announced) == min(position // window + 2, -(-len(sampler) // window))
    for part in announced:
        assert (np.diff(part) > 0).all()
        # A window that begins within a block has one more, of which it reads a part.
        assert (np.diff(part) > 1).sum() <= _BLOCKS_PER_WINDOW


def test_every_epoch_has_its_order() -> None:
    sampler = BlockShuffledEpochs(np.arange(500), 0, 4)
    orders = {tuple(_epoch(sampler, epoch)) for epoch in range(3)}
    assert len(orders) == 3
    assert tuple(_epoch(BlockShuffledEpochs(np.arange(500), 1, 4))) not in orders
    fixed = BlockShuffledEpochs(np.arange(500), 0, 4, fixed=True)
    assert _epoch(fixed, 0) == _epoch(fixed, 3)


def test_ranks_read_different_blocks() -> None:
    ranks = [BlockShuffledEpochs(np.arange(1000), 0, 10, rank, 4) for rank in range(4)]
    blocks = [{index // 10 for index in _epoch(rank)} for rank in ranks]
    assert len(set().union(*blocks)) == 100
    assert all(len(a & b) <= 1 for n, a in enumerate(blocks) for b in blocks[:n])


@pytest.mark.parametrize("block", [0, -3])
def test_a_block_needs_particles(files: Files, block: int) -> None:
    with pytest.raises(ValueError, match=rf"shuffle_block must be at least 1, found {block}"):
        BlockShuffledEpochs(np.arange(5), 0, block)
    with pytest.raises(ValueError, match=rf"shuffle_block must be at least 1, found {block}"):
        ParticleData(files.stack, shuffle_block=block)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_data_module_reads_in_blocks(files: Files, pairs: bool) -> None:
    labels = files.folder / "labels.npz"
    np.savez(labels, time=np.arange(N_IMAGES) % 6, trajectory=np.arange(N_IMAGES) // 6)
    data = ParticleData(
        files.stack, labels=labels, pairs=pairs, shuffle_block=2, validation_fraction=0
    )
    loader = data.train_dataloader()
    assert isinstance(loader.sampler, BlockShuffledEpochs)
    seen = [batch["index"].reshape(-1, 1 + pairs)[:, 0].tolist() for batch in loader]
    assert sorted(flat(seen)) == [i for i in range(N_IMAGES) if not pairs or i % 6 < 5]


def test_a_restored_loader_goes_on_with_the_next_batch(files: Files) -> None:
    def loader() -> ParticleLoader:
        dataset = ParticleDataset(ParticleStack.open(files.stack))
        return ParticleLoader(dataset, BlockShuffledEpochs(np.arange(N_IMAGES), 0, 3), 5)

    first, second = loader(), loader()
    list(islice(first, 1))
    second.load_state_dict(first.state_dict())
    rest = [batch["index"].tolist() for batch in second]
    assert rest == [batch["index"].tolist() for batch in loader()][1:]


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="the system takes no advice")
def test_runs_of_images_are_asked_for_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        with MrcsWriter(tmp_path / f"{name}.mrcs", 4, 1.0) as writer:
            writer.write(np.random.default_rng(0).standard_normal((100, 4, 4)))
    (tmp_path / "list.txt").write_text("a.mrcs\nb.mrcs\n")
    stack = ParticleStack.open(tmp_path / "list.txt")
    asked: list[Any] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, *advice: asked.append(advice[:2]))
    stack.prefetch([101, 3, 7, 5, 60, 99, 100])
    assert asked == [
        (1024 + 3 * 64, 5 * 64),
        (1024 + 60 * 64, 64),
        (1024 + 99 * 64, 64),
        (1024, 2 * 64),
    ]
    stack.prefetch([])
    assert len(asked) == 4
    monkeypatch.delattr(os, "posix_fadvise")
    stack.prefetch([1])
