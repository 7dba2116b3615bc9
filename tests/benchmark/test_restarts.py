"""Restarts: the best by held-out particles is kept."""

from __future__ import annotations

import math

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cryo_disentangle.benchmark import best_restart, train_restarts
from cryo_disentangle.benchmark.restarts import Restart


class _Offset(L.LightningModule):
    """Does not learn: its score is its random weight, or NaN."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(()))

    def training_step(self, batch: Tensor, _: int) -> Tensor:
        return 0 * self.weight * batch.sum()

    def validation_step(self, _: Tensor, __: int) -> None:
        score = self.weight.detach()
        self.log("val/reconstruction", score if score < 0.75 else score * math.nan)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class _Numbers(L.LightningDataModule):
    """Four numbers."""

    def train_dataloader(self) -> DataLoader[Tensor]:
        return DataLoader(torch.arange(4.0), batch_size=2)  # type: ignore[arg-type]

    val_dataloader = train_dataloader


def _trainer() -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@pytest.mark.filterwarnings("ignore:.*does not have many workers.*")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*")
def test_each_seed_is_a_training_and_the_lowest_score_wins() -> None:
    trainings = train_restarts(_Offset, _Numbers, _trainer, range(6))
    assert [training.seed for training in trainings] == list(range(6))
    weights = [training.module.get_parameter("weight").item() for training in trainings]
    expected = [weight if weight < 0.75 else math.inf for weight in weights]
    assert [training.score for training in trainings] == pytest.approx(expected)
    assert math.inf in expected
    assert best_restart(trainings).score == min(expected)
    with pytest.raises(ValueError, match=r"judged by 'val/psnr', found only \['val/recon"):
        train_restarts(_Offset, _Numbers, _trainer, [0], monitor="val/psnr")


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        train_restarts(_Offset, _Numbers, _trainer, [])
    with pytest.raises(ValueError, match="none of 1 restarts has a finite score"):
        best_restart([Restart(0, math.inf, _Offset())])
