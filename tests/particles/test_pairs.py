from __future__ import annotations

from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.particles import ParticleData, ParticleStack
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.pairs import (
    PairedDataset,
    earlier_frames,
    next_frames,
    split_trajectories,
)
from cryo_disentangle.particles.sampling import BatchesInOrder, ParticleLoader, ShuffledEpochs
from cryo_disentangle.types import ParticleBatch, flatten_particles
from tests.particles.conftest import N_IMAGES, Files

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]

Pairs = set[tuple[int, int]]
# Four trajectories of three frames, neither grouped nor in the order of time.
TRAJECTORY = np.array([8, 5, 8, 5, 2, 2, 9, 9, 2, 5, 8, 9])
TIME = np.array([3, 1, 1, 2, 30, 10, 0.5, 0.75, 20, 0, 2, 1])
PAIRS = {(2, 10), (10, 0), (9, 1), (1, 3), (5, 8), (8, 4), (6, 7), (7, 11)}


def by_definition(time: npt.NDArray[Any], trajectory: npt.NDArray[Any]) -> Pairs:
    """Every two frames of a trajectory with none between them."""
    pairs = set()
    for name in set(trajectory.tolist()):
        rows = sorted(np.flatnonzero(trajectory == name).tolist(), key=lambda row: time[row])
        pairs |= set(pairwise(rows))
    return pairs


@st.composite
def tracks(draw: st.DrawFn) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Frames of trajectories, of which at least two have two frames."""
    frames = draw(st.lists(st.integers(2, 5), min_size=2, max_size=6))
    trajectory = np.repeat(np.arange(len(frames)) * 3 - 4, frames)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    return rng.permutation(len(trajectory)) / 8, rng.permutation(trajectory)


def labelled(files: Files, **options: Any) -> ParticleData:
    path = files.folder / "labels.npz"
    np.savez(path, time=TIME, trajectory=TRAJECTORY)
    defaults: dict[str, Any] = {
        "pairs": True,
        "labels": path,
        "batch_size": 3,
        "validation_fraction": 0.25,
    }
    return ParticleData(files.stack, **defaults | options)


def pairs_of(batches: Any) -> list[tuple[int, int]]:
    return [tuple(pair) for batch in batches for pair in batch["index"].tolist()]


@given(tracks())
def test_each_frame_is_followed_by_the_next_of_its_trajectory(
    track: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    following = next_frames(*track, "x")
    first = np.flatnonzero(following >= 0)
    pairs = set(zip(first.tolist(), following[first].tolist(), strict=True))
    assert pairs == by_definition(*track)
    np.testing.assert_array_equal(earlier_frames(np.arange(len(following)), following), first)


@given(tracks(), st.floats(0, 0.99), st.integers(0, 9))
def test_splits_keep_trajectories_whole(
    track: tuple[npt.NDArray[Any], npt.NDArray[Any]], fraction: float, seed: int
) -> None:
    time, trajectory = track
    following = next_frames(time, trajectory, "x")
    training, validation = split_trajectories(trajectory, following, fraction, seed)
    assert sorted([*training, *validation]) == list(range(len(time)))
    assert not set(trajectory[training]) & set(trajectory[validation])
    n_all, n_held_out = len(set(trajectory)), len(set(trajectory[validation]))
    wanted = round(n_all * fraction)
    assert n_held_out == (min(max(wanted, 1), n_all - 1) if fraction else 0)
    kept = [earlier_frames(rows, following) for rows in (training, validation)]
    assert sum(map(len, kept)) == len(by_definition(time, trajectory))


def test_pairs_need_both_frames() -> None:
    following = next_frames(TIME, TRAJECTORY, "x")
    rows = np.array([0, 1, 2, 3, 5, 9])
    assert earlier_frames(rows, following).tolist() == [1, 9]


@given(tracks(), st.integers(1, 3), st.integers(1, 7), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=30)
def test_ranks_share_every_pair_once(
    track: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    world_size: int,
    batch_size: int,
    seed: int,
    epoch: int,
) -> None:
    following = next_frames(*track, "x")
    first = earlier_frames(np.arange(len(following)), following)
    if len(first) < world_size:
        return
    trained: list[int] = []
    validated: list[int] = []
    for rank in range(world_size):
        order = ShuffledEpochs(first, seed, rank, world_size)
        order.set_epoch(epoch)
        trained += order
        for batch in BatchesInOrder(first, batch_size, rank, world_size):
            validated += batch
    assert sorted(validated) == first.tolist()
    assert len(set(trained)) == len(trained) == len(first) // world_size * world_size
    assert set(trained) <= set(first.tolist())


def test_a_batch_of_pairs_is_one_read(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = ParticleStack.open(
        files.stack, poses=files.poses, ctf=files.ctf_file, labels=labelled(files).labels
    )
    single = ParticleDataset(stack)
    paired = PairedDataset(single, next_frames(TIME, TRAJECTORY, "x"))
    reads: list[list[int]] = []
    read = stack.read

    def recorded(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        reads.append(rows.tolist())
        return read(rows)

    monkeypatch.setattr(stack, "read", recorded)
    batch = paired.__getitems__([10, 5, 1])
    assert reads == [[10, 0, 5, 8, 1, 3]]
    shapes = {key: tuple(value.shape) for key, value in batch.items() if isinstance(value, Tensor)}
    assert shapes == {
        "images": (3, 2, 9, 9),
        "index": (3, 2),
        "rotation": (3, 2, 3, 3),
        "translation": (3, 2, 2),
        "ctf": (3, 2, 9),
        "time": (3, 2),
        "trajectory": (3, 2),
    }
    assert batch["time"].tolist() == [[2, 3], [10, 20], [1, 2]]
    expected = single.__getitems__([10, 0, 5, 8, 1, 3])
    for key, value in flatten_particles(batch).items():
        torch.testing.assert_close(value, dict(expected)[key], rtol=0, atol=0)
    torch.testing.assert_close(paired[5]["images"], batch["images"][1])
    with pytest.raises(IndexError, match=r"index -1 is out of range"):
        paired[4]


def test_training_and_validation_are_of_pairs_and_prediction_of_particles(files: Files) -> None:
    data = labelled(files)
    training, validation = data.split
    assert len(set(TRAJECTORY[validation])) == 1
    assert not set(TRAJECTORY[training]) & set(TRAJECTORY[validation])
    loader = data.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        epochs.append(pairs_of(loader))
    validated = pairs_of(data.val_dataloader())
    assert pairs_of(data.test_dataloader()) == validated
    assert len(validated) == 2
    for seen in epochs:
        assert len(seen) == 6
        assert set(seen) | set(validated) == PAIRS
    assert epochs[0] != epochs[1]
    predicted = torch.cat([batch["index"] for batch in data.predict_dataloader()])
    assert predicted.tolist() == list(range(N_IMAGES))
    assert labelled(files, validation_fraction=0.0).val_dataloader() == []


def test_labels_do_not_make_pairs(files: Files) -> None:
    data = labelled(files, pairs=False)
    assert next(iter(data.train_dataloader()))["time"].shape == (3,)
    plain = ParticleData(files.stack, validation_fraction=0.25)
    np.testing.assert_array_equal(data.split[1], plain.split[1])


@pytest.mark.parametrize("stop", range(5))
def test_a_restored_loader_goes_on_with_the_next_pairs(files: Files, stop: int) -> None:
    def loader() -> ParticleLoader:
        made = labelled(files, validation_fraction=0.0, batch_size=2).train_dataloader()
        made.sampler.set_epoch(1)
        return made

    whole = [batch["index"].tolist() for batch in loader()]
    assert len(whole) == 4
    first, second = loader(), loader()
    list(islice(first, stop))
    second.load_state_dict(first.state_dict())
    assert [batch["index"].tolist() for batch in second] == whole[stop:]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_deliver_the_same_pairs(files: Files) -> None:
    here, there = (labelled(files, num_workers=n).train_dataloader() for n in (0, 1))
    assert pairs_of(there) == pairs_of(here)


def test_a_checkpoint_keeps_the_held_out_trajectories(files: Files) -> None:
    data, other = labelled(files, seed=1), labelled(files, seed=2)
    state = data.state_dict()
    other.load_state_dict(state)
    assert pairs_of(other.val_dataloader()) == pairs_of(data.val_dataloader())
    # Held out one by one, particles take with them the pairs that they are in.
    other.load_state_dict(state | {"validation": torch.tensor([0, 9, 1])})
    assert set(pairs_of(other.val_dataloader())) == {(9, 1)}
    assert set(pairs_of(other.train_dataloader())) == PAIRS - {(9, 1), (1, 3), (10, 0)}


class Counts(L.LightningModule):
    """Remembers the shapes of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.shapes: set[tuple[int, ...]] = set()
        self.held_out: set[tuple[int, ...]] = set()

    def training_step(self, batch: ParticleBatch) -> Tensor:
        self.shapes.add(tuple(batch["index"].shape))
        return (flatten_particles(batch)["images"] - self.weight).square().mean()

    def validation_step(self, batch: ParticleBatch) -> None:
        self.held_out.add(tuple(batch["index"].shape))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_takes_pairs(files: Files, tmp_path: Path) -> None:
    module = Counts()
    trainer = L.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        logger=False,
        max_epochs=2,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, labelled(files, batch_size=4))
    assert module.shapes == {(4, 2), (2, 2)}
    assert module.held_out == {(2, 2)}


def test_single_frames_are_told_and_left_out() -> None:
    with pytest.warns(UserWarning, match=r"x\.npz: 2 of 3 trajectories have a single frame and"):
        following = next_frames(np.arange(4.0), np.array([3, 1, 1, 2]), "x.npz")
    assert following.tolist() == [-1, 2, -1, -1]
    training, validation = split_trajectories(np.array([3, 1, 1, 2]), following, 0.0, 0)
    assert training.tolist() == [0, 1, 2, 3]
    assert not len(validation)
    with pytest.raises(ValueError, match=r"x\.npz: pairs need .* found one frame in each of 4"):
        next_frames(np.arange(4.0), np.arange(4), "x.npz")
    with pytest.raises(ValueError, match=r"0\.5 cannot hold out a whole trajectory, of which ther"):
        split_trajectories(np.array([3, 1, 1, 2]), following, 0.5, 0)
    with pytest.raises(ValueError, match=r"validation_fraction must be in \[0, 1\), found 1"):
        split_trajectories(np.array([3, 1, 1, 2]), following, 1.0, 0)


def test_frames_of_one_time_are_refused(files: Files) -> None:
    with pytest.raises(
        ValueError, match=r"x: particles 1 and 3 of trajectory 7 have the same time"
    ):
        next_frames(np.array([4, 5, 4.0]), np.array([7, 7, 7]), "x")
    np.savez(files.folder / "late.npz", time=1.7e9 + TIME, trajectory=TRAJECTORY)
    data = labelled(files, labels=files.folder / "late.npz")
    with pytest.raises(ValueError, match=r"late\.npz: .* the same time 1\.7e\+09 in single precis"):
        data.train_dataloader()


def test_pairs_need_labels(files: Files, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pairs need the labels time and trajectory, found \[\]"):
        labelled(files, labels=None).train_dataloader()
    np.savez(tmp_path / "time.npz", time=TIME)
    with pytest.raises(ValueError, match=r"found \['time'\] \(labels: .*time\.npz\)"):
        labelled(files, labels=tmp_path / "time.npz").train_dataloader()
    np.savez(tmp_path / "few.npz", time=TIME[:5], trajectory=TRAJECTORY[:5])
    with pytest.raises(ValueError, match=r"few\.npz: 5 rows, expected one for each image: 12"):
        labelled(files, labels=tmp_path / "few.npz").train_dataloader()


def test_pairs_of_a_selection_skip_what_is_left_out(files: Files, tmp_path: Path) -> None:
    np.save(tmp_path / "ind.npy", np.array([2, 0, 9, 3, 1]))
    data = labelled(files, indices=tmp_path / "ind.npy", validation_fraction=0.0)
    assert set(pairs_of(data.train_dataloader())) == {(0, 1), (2, 4), (4, 3)}
