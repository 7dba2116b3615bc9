"""Callbacks that watch: when they look, what they leave alone, and how they fail."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.strategies import FSDPStrategy

from cryo_disentangle.adapters import AdaptedModel, ModelAdapter
from cryo_disentangle.callbacks.epoch_callback import EpochCallback
from cryo_disentangle.callbacks.export import CryoDRGNExport
from cryo_disentangle.callbacks.latent_figures import LatentFigures
from cryo_disentangle.callbacks.traversals import TraversalVolumes
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.pickles import read_latents
from tests import tiny
from tests.callbacks import foreign, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

TOLD: dict[str, Any] = {"infer": foreign.infer, "as_batch": foreign.as_batch}


class Looks(EpochCallback):
    """Remembers its looks, and meddles with all random numbers."""

    def __init__(self, every_n_epochs: int = 1) -> None:
        super().__init__(every_n_epochs, ModelAdapter(**TOLD))
        self.epochs: list[int] = []

    def _look(
        self, trainer: L.Trainer, pl_module: L.LightningModule, model: AdaptedModel, epoch: int
    ) -> None:
        del trainer, model
        assert not pl_module.training
        assert not torch.is_grad_enabled()
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        self.epochs.append(epoch)


def weights(model: torch.nn.Module) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def test_looks_every_few_epochs_and_after_the_last(tmp_path: Path) -> None:
    looks = Looks(every_n_epochs=2)
    model = watched.fit_foreign(tmp_path, looks, max_epochs=5)
    assert looks.epochs == [2, 4, 5]
    assert model.training


def test_looks_where_a_run_ends_early(tmp_path: Path) -> None:
    # A loss that must fall by more than there is stops the run after its second epoch.
    stop = EarlyStopping("loss", min_delta=100.0, patience=1)
    looks = Looks(every_n_epochs=10)
    model = watched.fit_foreign(tmp_path, stop, looks, max_epochs=9)
    assert looks.epochs == [2]
    assert model.training
    looks = Looks(every_n_epochs=10)
    watched.fit_foreign(tmp_path, looks, max_epochs=9, max_steps=13)
    assert looks.epochs == [3]


def test_a_trial_run_is_left_alone(tmp_path: Path) -> None:
    looks = Looks()
    watched.fit_foreign(tmp_path, looks, fast_dev_run=True)
    assert looks.epochs == []
    watchers = LatentFigures(), TraversalVolumes(), CryoDRGNExport()
    watched.fit(tmp_path, *watchers, fast_dev_run=True)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.filterwarnings("ignore:CryoDRGNExport. no cryoDRGN weights:UserWarning")
def test_watching_changes_nothing(tmp_path: Path) -> None:
    watchers: list[Callback] = [
        Looks(),
        LatentFigures(2, **TOLD),
        TraversalVolumes(generate=foreign.generate, **TOLD),
        CryoDRGNExport(**TOLD),
    ]
    alone = weights(watched.fit_foreign(tmp_path / "alone"))
    seen = weights(watched.fit_foreign(tmp_path / "seen", *watchers))
    assert all(torch.equal(a, b) for a, b in zip(alone, seen, strict=True))
    ours = weights(watched.fit(tmp_path))
    seen = weights(watched.fit(tmp_path, LatentFigures(2), TraversalVolumes(), CryoDRGNExport(2)))
    assert all(torch.equal(a, b) for a, b in zip(ours, seen, strict=True))


def test_a_failure_is_told_once_with_its_reason() -> None:
    looks = Looks()
    reason = r"Looks: no cake, training continues: KeyError: 'flour'"
    with pytest.warns(UserWarning, match=reason), looks.failing_softly("cake"):
        raise KeyError("flour")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with looks.failing_softly("cake"):
            raise KeyError("sugar")
    with pytest.warns(UserWarning, match="no tea"), looks.failing_softly("tea"):
        raise ValueError("water")


def test_an_interrupt_is_no_failure() -> None:
    with pytest.raises(KeyboardInterrupt), Looks().failing_softly("cake"):
        raise KeyboardInterrupt


@pytest.mark.parametrize("make", [LatentFigures, TraversalVolumes, CryoDRGNExport])
def test_what_makes_no_sense_is_told_before_the_run(make: Any) -> None:
    with pytest.raises(ValueError, match="every_n_epochs must be at least 1, found 0"):
        make(every_n_epochs=0)
    with pytest.raises(TypeError, match=r"cannot import 'no\.such\.function'"):
        make(infer="no.such.function")
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no infer\(batch\)"):
        make().setup(L.Trainer(logger=False, accelerator="cpu"), foreign.ConvolutionalVAE(), "fit")
    sharded: Any = SimpleNamespace(strategy=object.__new__(FSDPStrategy))
    with pytest.raises(TypeError, match="FSDPStrategy shards them: train with one device or ddp"):
        make().setup(sharded, watched.make_model(), "fit")


def test_two_processes(tmp_path: Path, two_processes: Path) -> None:
    folder = two_processes / "watched"
    found, other = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert found["same"]
    assert other["same"]
    for name, value in found["weights"].items():
        assert torch.equal(value, other["weights"][name])
    assert len(list((folder / "figures").glob("*.png"))) == 3
    assert len(list((folder / "traversals/epoch_002").iterdir())) == 11
    mean, log_variance = read_latents(folder / "cryodrgn/z.2.pkl")
    assert mean.shape == (59, 2)
    assert log_variance is not None
    # Each row is the particle's own, whichever process has inferred it.
    model = watched.make_model()
    model.load_state_dict(found["weights"])
    data = ParticleData(**tiny.write_stack(tmp_path / "again", count=59))
    with torch.no_grad():
        expected = torch.cat([model.infer(batch).mean for batch in data.predict_dataloader()])
    np.testing.assert_allclose(mean, expected.numpy(), atol=1e-5)
