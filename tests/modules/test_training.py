"""The training of models of latents that know nothing of images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from cryo_disentangle.modules.objective import add_penalties
from cryo_disentangle.modules.training import LatentTraining, TrainingSettings
from cryo_disentangle.priors.standard_normal import kl_standard_normal
from cryo_disentangle.types import Inference
from tests.callbacks import watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]


class _Model(nn.Module):
    """A linear model of vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(2, 4)
        self.penalties = nn.ModuleDict({"size": _Size()})

    def infer(self, batch: Any) -> Inference:
        return Inference(*self.encoder(batch["vector"]).chunk(2, -1))

    def loss_terms(
        self,
        batch: Any,
        *,
        step: int,
        sample: bool,
        generator: torch.Generator | None = None,
    ) -> dict[str, Tensor]:
        assert step >= 0
        found = self.infer(batch)
        z = found.sample(generator) if sample else found.mean
        error = (self.decoder(z) - batch["vector"]).square().mean()
        kl = kl_standard_normal(found.mean, found.log_variance).mean()
        terms = {"loss": error + 0.01 * kl, "error": error, "kl": kl}
        return add_penalties(terms, self.penalties, self, batch, found, training=sample)  # type: ignore[arg-type]


class _Size(nn.Module):
    """A penalty with a term to log."""

    def forward(self, model: Any, batch: Any, inference: Inference) -> Tensor:
        assert isinstance(model, _Model)
        assert len(batch["index"]) == len(inference.mean)
        self.terms = {"square": inference.mean.square().mean().detach()}
        return 0.1 * inference.mean.square().mean()


class _Trained(_Model, LatentTraining):
    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        settings = TrainingSettings(partial(torch.optim.Adam, lr=1e-2), seed=seed)
        self.train_with(settings, ("loss", "error", "kl", "size"))


def fit(folder: Path, seed: int = 0) -> tuple[_Trained, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = _Trained(seed)
    vectors = torch.randn(24, 4, generator=torch.Generator().manual_seed(1))
    parts = zip(vectors.split(8), torch.arange(24).split(8), strict=True)
    loader: Any = DataLoader([{"vector": v, "index": i} for v, i in parts], batch_size=None)  # type: ignore[arg-type]
    trainer = watched.make_trainer(folder, max_epochs=4)
    trainer.fit(model, loader, loader)
    return model, trainer.callback_metrics


def test_it_is_trained_validated_and_logged(tmp_path: Path) -> None:
    model, logged = fit(tmp_path)
    names = {"train/size/square"} | {
        f"{part}/{name}" for part in ("train", "val") for name in ("loss", "error", "kl", "size")
    }
    assert names <= set(logged)
    torch.testing.assert_close(logged["train/size"], 0.1 * logged["train/size/square"])
    again, _ = fit(tmp_path)
    other, _ = fit(tmp_path, seed=1)
    assert torch.equal(model.encoder.weight, again.encoder.weight)
    assert not torch.equal(model.encoder.weight, other.encoder.weight)
    assert list(model.state_dict()) == list(_Model().state_dict())
    predicted = model.predict_step({"vector": torch.zeros(3, 4), "index": torch.arange(3)}, 0)  # type: ignore[typeddict-unknown-key]
    assert set(predicted) == {"index", "mean", "log_variance"}


def test_seeds_of_steps_are_those_of_every_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A golden value: what NumPy 2 gave for the 63 bits of seed, process, epoch and batch."""
    seeds: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    for name, value in {"global_rank": 0, "current_epoch": 0, "global_step": 0}.items():
        monkeypatch.setattr(_Trained, name, value)
    model = _Trained.__new__(_Trained)
    nn.Module.__init__(model)
    model._training = TrainingSettings(partial(torch.optim.Adam, lr=1e-2))
    model.on_train_batch_start(None, 3)
    assert seeds == [3779831505800705072]
    assert np.random.SeedSequence([0, 0, 0, 3]).generate_state(1, np.uint64)[0] // 2 == seeds[0]
