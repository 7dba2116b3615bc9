"""Statistics as a DataModule: the split, pairs and order of images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cryo_disentangle.particles.sampling import split_indices
from cryo_disentangle.statistics import StatisticsData
from tests.statistics.synthetic import statistics_of, write

_COUNT = 24


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "truth.npz"
    np.savez(
        path,
        time=np.arange(2 * _COUNT) % 2,
        trajectory=np.arange(2 * _COUNT) // 2,
        temperature=np.full(2 * _COUNT, 300.0),
        factors=np.arange(4 * _COUNT).reshape(-1, 2),
    )
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every row of the first half of the particle file, backwards."""
    made = statistics_of(torch.randn(_COUNT, 3, generator=torch.Generator().manual_seed(0)))
    made = replace(made, index=torch.arange(_COUNT).flip(0))
    write(tmp_path / "s", made, n_particles=2 * _COUNT)
    return tmp_path / "s"


def test_batches_have_statistics_and_labels_of_their_row(folder: Path, labels: Path) -> None:
    data = StatisticsData(folder, labels, batch_size=5)
    batch = next(iter(data.train_dataloader()))
    statistics = data.folder.statistics
    row = _COUNT - 1 - batch["index"]
    assert batch["information"].shape == (5, 3)
    assert torch.equal(batch["information"], statistics.information[row])
    assert torch.equal(batch["precision"], statistics.precision[row])
    assert torch.equal(batch["rotation"], statistics.rotation[row])
    assert torch.equal(batch["factors"][:, 0], 2.0 * batch["index"])
    assert batch["temperature"].tolist() == [300.0] * 5


def test_split_and_order_are_those_of_images(folder: Path) -> None:
    data = StatisticsData(folder, batch_size=5, validation_fraction=0.25, seed=3)
    training, validation = split_indices(_COUNT, 0.25, 3)
    assert np.array_equal(data.split[0], training)
    assert np.array_equal(data.split[1], validation)
    seen = torch.cat([batch["index"] for batch in data.train_dataloader()])
    assert sorted((_COUNT - 1 - seen).tolist()) == training.tolist()
    loader = data.val_dataloader()
    assert not isinstance(loader, list)
    held_out = torch.cat([batch["index"] for batch in loader])
    assert (_COUNT - 1 - held_out).tolist() == validation.tolist()
    everything = torch.cat([batch["index"] for batch in data.predict_dataloader()])
    assert everything.tolist() == list(range(_COUNT))[::-1]


def test_pairs_are_of_the_labels(folder: Path, labels: Path) -> None:
    data = StatisticsData(folder, labels, pairs=True, batch_size=4, validation_fraction=0.25)
    batch = next(iter(data.train_dataloader()))
    assert batch["information"].shape == (4, 2, 3)
    assert batch["precision"].shape == (4, 2, 3, 3)
    assert torch.equal(batch["index"][:, 1], batch["index"][:, 0] + 1)
    assert (batch["index"][:, 0] % 2 == 0).all()


def test_an_epoch_goes_on_where_it_was_left(folder: Path) -> None:
    def seen(loader: object) -> list[list[int]]:
        return [batch["index"].tolist() for batch in loader]  # type: ignore[attr-defined]

    data = StatisticsData(folder, batch_size=5)
    loader = data.train_dataloader()
    iterator = iter(loader)
    first = [next(iterator)["index"].tolist() for _ in range(2)]
    again = StatisticsData(folder, batch_size=5)
    again.load_state_dict(data.state_dict())
    resumed = again.train_dataloader()
    resumed.load_state_dict(loader.state_dict())
    assert first + seen(resumed) == seen(data.train_dataloader())


def test_labels_of_the_selected_alone_serve(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", factors=np.arange(_COUNT)[:, None])
    data = StatisticsData(folder, tmp_path / "some.npz", batch_size=5)
    batch = next(iter(data.predict_dataloader()))
    assert torch.equal(batch["factors"][:, 0], (_COUNT - 1.0) - batch["index"])


def test_labels_of_other_particles_are_refused(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", factors=np.zeros((7, 1)))
    data = StatisticsData(folder, tmp_path / "other.npz")
    message = r"7 rows, expected one for each particle: 48 of stack.mrcs, or the 24 that have"
    with pytest.raises(ValueError, match=message):
        data.train_dataloader()


def test_pairs_need_labels(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs need the labels time and trajectory, found \[\]"):
        StatisticsData(folder, pairs=True).train_dataloader()


def test_options_out_of_range_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="batch_size must be at least 1, found 0"):
        StatisticsData(folder, batch_size=0)
