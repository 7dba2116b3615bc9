from __future__ import annotations

import random
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.particles import (
    MrcsWriter,
    ParticleDataset,
    ParticleLoader,
    ParticleStack,
    ShuffledEpochs,
)
from cryo_disentangle.particles.loading import evaluation_loader
from cryo_disentangle.particles.sampling import InOrder
from tests.particles.conftest import Files


def _loader(files: Files, batch_size: int) -> ParticleLoader:
    dataset = ParticleDataset(ParticleStack.open(files.stack))
    return ParticleLoader(dataset, ShuffledEpochs(np.arange(12), 0), batch_size)


def _epochs(loader: ParticleLoader, epochs: range) -> list[list[int]]:
    seen: list[list[int]] = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        seen.extend(batch["index"].tolist() for batch in loader)
    return seen


@given(batch_size=st.sampled_from([1, 5, 12, 20]), stop=st.integers(0, 24))
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
