from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn

from cryo_disentangle.particles import RealPreprocessing
from cryo_disentangle.simulation import (
    ContrastTransferRange,
    LaplaceWalk,
    Microscope,
    NormalShifts,
    SimulatedDataset,
    SimulatedParticles,
    Simulation,
    TwoArms,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.simulation.stream import _NewEpochs
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
