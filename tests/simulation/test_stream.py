from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import lightning as L
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cryo_disentangle.particles import ParticleData, RealPreprocessing
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    LaplaceWalk,
    Microscope,
    NormalShifts,
    SimulatedDataset,
    SimulatedParticles,
    Simulation,
    TemperatureNormal,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.stream import _NewEpochs, _NewPairs
from cryo_disentangle.types import ParticleBatch

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]

SIMULATION = Simulation(
    TwoArms(),
    LaplaceWalk(),
    Microscope(UniformViews(), NormalShifts(0.5), ContrastTransferRange(), WhiteNoise(0.5)),
    n_images=50,
)


def data(num_workers: int = 0) -> SimulatedParticles:
    return SimulatedParticles(
        SIMULATION, batch_size=16, validation_images=21, num_workers=num_workers
    )


def test_batches_have_the_keys_of_a_file_and_the_factors() -> None:
    batch = next(iter(data().train_dataloader()))
    assert {
        key: tuple(value.shape) for key, value in batch.items() if isinstance(value, Tensor)
    } == {
        "images": (16, 33, 33),
        "index": (16,),
        "factors": (16, 2),
        "rotation": (16, 3, 3),
        "translation": (16, 2),
        "ctf": (16, 9),
        "time": (16,),
        "trajectory": (16,),
    }
    assert all(
        value.dtype == (torch.int64 if key in {"index", "trajectory"} else torch.float32)
        for key, value in batch.items()
        if isinstance(value, Tensor)
    )


def test_images_are_normalised() -> None:
    module = data()
    assert module.box_size == 32
    assert module.pixel_size == 4.25
    values = torch.cat([batch["images"] for batch in module.val_dataloader()])
    # The window takes some of the noise away, and nothing else does.
    assert 0.7 < float(values.std()) < 1.1
    assert module.norm == (0.0, module.norm_std)
    other = data()
    other.load_state_dict({"norm": [0.0, 3.0]})
    assert other.norm_std == 3.0


def test_epochs_are_new_and_reproducible() -> None:
    def epoch(number: int, module: SimulatedParticles) -> list[ParticleBatch]:
        loader = module.train_dataloader()
        loader.sampler.set_epoch(number)
        return list(loader)

    first, again, second = epoch(0, data()), epoch(0, data()), epoch(1, data())
    assert [len(batch["index"]) for batch in first] == [16, 16, 16, 2]
    for a, b in zip(first, again, strict=True):
        torch.testing.assert_close(a["images"], b["images"])
    factors = torch.cat([batch["factors"] for batch in first + second])
    assert len(factors.unique(dim=0)) == 100


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_workers_do_not_change_batches() -> None:
    alone = list(data().train_dataloader())
    helped = list(data(num_workers=2).train_dataloader())
    for a, b in zip(alone, helped, strict=True):
        assert torch.equal(a["index"], b["index"])
        torch.testing.assert_close(a["images"], b["images"], atol=1e-4, rtol=0)


def test_ranks_and_validation_have_no_particle_in_common() -> None:
    numbers = []
    for rank in range(3):
        for epoch in range(2):
            order = _NewEpochs(torch.arange(50).numpy(), 0, rank, 3)
            order.set_epoch(epoch)
            numbers += list(order)
            assert len(order) == 16
    assert len(set(numbers)) == len(numbers) == 96
    training = next(iter(data().train_dataloader()))["factors"]
    validation = torch.cat([batch["factors"] for batch in data().val_dataloader()])
    assert len(validation) == 21
    assert len(torch.cat([training, validation]).unique(dim=0)) == 37


def test_a_particle_is_the_same_alone_and_in_a_batch() -> None:
    preprocessing = RealPreprocessing(norm=(0.0, 1.0))
    dataset = SimulatedDataset(SIMULATION, preprocessing, stream=2)
    batch = dataset.__getitems__([9, 2, 30])
    for row, number in enumerate([9, 2, 30]):
        alone = dataset[number]
        torch.testing.assert_close(batch["images"][row], alone["images"], atol=1e-5, rtol=0)
        assert torch.equal(batch["factors"][row], alone["factors"])
    # With the identity as preprocessing, an image is what the simulation makes, inverted.
    assert batch["images"].shape == (3, 32, 32)


def test_temperatures_are_delivered() -> None:
    warm = replace(SIMULATION, process=TemperatureNormal([280, 320], [[0.1, 0.2], [0.3, 0.2]]))
    batch = next(iter(SimulatedParticles(warm, batch_size=16).train_dataloader()))
    assert set(batch["temperature"].tolist()) == {280, 320}
    assert "time" not in batch


def pairs(simulation: Simulation = SIMULATION) -> SimulatedParticles:
    return SimulatedParticles(simulation, pairs=True, batch_size=16, validation_images=60)


def test_pairs_are_a_frame_and_the_next() -> None:
    walks = replace(SIMULATION, process=LaplaceWalk(frames=8, frame_interval=0.5))
    module = pairs(walks)
    training, validation = list(module.train_dataloader()), list(module.val_dataloader())
    # 50 particles are 7 trajectories, and 60 are 8, the last one cut short.
    for batches, count in ((training, 43), (validation, 52)):
        assert sum(len(batch["index"]) for batch in batches) == count
        first = torch.cat([batch["index"][:, 0] for batch in batches])
        assert len(set(first.tolist())) == count
        assert (first % 8 != 7).all()
        for batch in batches:
            assert torch.equal(batch["index"][:, 1], batch["index"][:, 0] + 1)
            assert torch.equal(batch["trajectory"][:, 0], batch["trajectory"][:, 1])
            assert torch.equal(batch["time"].diff(), torch.full_like(batch["time"][:, :1], 0.5))
    assert first.max() == 58
    assert torch.equal(first, first.sort().values)
    assert training[0]["images"].shape == (16, 2, 33, 33)
    assert training[0]["factors"].shape == (16, 2, 2)
    # A batch is of many trajectories.
    assert len(training[0]["trajectory"].unique()) > 4
    singly = torch.cat([batch["index"] for batch in module.predict_dataloader()])
    assert singly.tolist() == list(range(60))


@given(
    n_pairs=st.integers(3, 60),
    frames=st.integers(2, 9),
    world_size=st.integers(1, 3),
    block=st.integers(1, 70),
)
@settings(max_examples=30)
def test_no_two_ranks_or_epochs_have_a_pair_in_common(
    n_pairs: int, frames: int, world_size: int, block: int
) -> None:
    seen: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cryo_disentangle.simulation.stream._SHUFFLED_PAIRS", block)
        for rank in range(world_size):
            order = _NewPairs(n_pairs, frames, 0, rank, world_size, fixed=False)
            for epoch in range(3):
                order.set_epoch(epoch)
                order.start = 0
                mine = list(order)
                assert len(mine) == len(order) == n_pairs // world_size
                order.start = len(mine) // 2
                assert list(order) == mine[order.start :]
                seen += mine
    assert len(set(seen)) == len(seen)
    assert all(number % frames != frames - 1 for number in seen)
    if world_size == 1:
        assert sorted(seen) == [n for n in range(max(seen) + 1) if n % frames != frames - 1]


def test_pairs_resume_and_do_not_depend_on_epochs_before() -> None:
    whole, rest = pairs().train_dataloader(), pairs().train_dataloader()
    whole.sampler.set_epoch(1)
    batches = list(whole)
    part = pairs().train_dataloader()
    part.sampler.set_epoch(1)
    list(islice(part, 2))
    rest.load_state_dict(part.state_dict())
    for batch, again in zip(batches[2:], rest, strict=True):
        assert torch.equal(batch["index"], again["index"])
        torch.testing.assert_close(batch["images"], again["images"])


def test_pairs_need_trajectories() -> None:
    with pytest.raises(
        ValueError, match=r"a process with trajectories \(LaplaceWalk\), found Unif"
    ):
        pairs(replace(SIMULATION, process=UniformFactors()))
    with pytest.raises(
        ValueError, match=r"at least 2 frames, .* of at least 2, found 1, 50 and 60"
    ):
        pairs(replace(SIMULATION, process=LaplaceWalk(frames=1)))
    with pytest.raises(
        ValueError, match=r"at least 2 frames, .* of at least 2, found 50, 1 and 60"
    ):
        pairs(replace(SIMULATION, n_images=1))


def test_truth_of_a_written_simulation_is_a_file_of_labels(tmp_path: Path) -> None:
    replace(SIMULATION, n_images=30, process=LaplaceWalk(frames=10)).write(tmp_path)
    module = ParticleData(
        tmp_path / "particles.star",
        labels=tmp_path / "truth.npz",
        pairs=True,
        validation_fraction=0.3,
    )
    validation = module.val_dataloader()
    assert isinstance(validation, DataLoader)
    batches = [*module.train_dataloader(), *validation]
    index = torch.cat([batch["index"] for batch in batches])
    assert sorted(index[:, 0].tolist()) == [n for n in range(30) if n % 10 != 9]
    assert torch.equal(index[:, 1], index[:, 0] + 1)
    held_out = torch.cat([batch["trajectory"] for batch in validation])
    assert len(held_out) == 9
    assert len(held_out.unique()) == 1
    assert batches[0]["factors"].shape == (8, 2, 2)


class Fits(L.LightningModule):
    """Remembers which particles it saw, and learns a little."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(33 * 33, 2)
        self.seen: list[int] = []

    def training_step(self, batch: ParticleBatch, batch_idx: int) -> Tensor:  # noqa: ARG002
        self.seen += batch["index"].tolist()
        predicted = self.layer(batch["images"].flatten(1))
        return nn.functional.mse_loss(predicted, batch["factors"])

    def validation_step(self, batch: ParticleBatch, batch_idx: int) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def fit(folder: Path, resume: Path | None = None, max_epochs: int = 3) -> Fits:
    module = Fits()
    nn.init.zeros_(module.layer.weight)
    nn.init.zeros_(module.layer.bias)
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=6, save_top_k=-1)],
        max_epochs=max_epochs,
    )
    trainer.fit(module, data(), ckpt_path=resume, weights_only=True)
    return module


def test_training_sees_new_particles_and_resumes_within_an_epoch(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole")
    assert whole.seen == list(range(150))
    # Four batches an epoch: the sixth step is the second of the second epoch.
    rest = fit(tmp_path / "rest", resume=tmp_path / "whole" / "step=6.ckpt")
    assert rest.seen == whole.seen[50 + 32 :]
    torch.testing.assert_close(rest.layer.weight, whole.layer.weight)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="must be positive and num_workers not negative, found 0"):
        SimulatedParticles(SIMULATION, batch_size=0)
    with pytest.raises(ValueError, match="differ"):
        SimulatedParticles(replace(SIMULATION, process=LaplaceWalk(dim=3)))
