"""What is not finite is named, or left out and counted."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from cryo_disentangle.adapters import ModelAdapter
from cryo_disentangle.callbacks import NonFiniteGuard
from cryo_disentangle.callbacks.run_particles import all_batches
from cryo_disentangle.judgement.inferred import infer_particles
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.types import ParticleBatch
from tests import tiny
from tests.callbacks import loops, watched
from tests.small_model import COUNT, make_batch, make_model

pytestmark = [
    *(pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET),
    pytest.mark.filterwarnings("ignore:You defined a `validation_step`:UserWarning"),
]


def batches(count: int, spoilt: dict[int, tuple[str, int]] | None = None) -> list[ParticleBatch]:
    """Batches with consecutive rows; some with a NaN in a tensor of one of their particles."""
    made = []
    for number in range(count):
        batch: Any = make_batch()
        batch["index"] = batch["index"] + number * COUNT
        if number in (spoilt or {}):
            key, position = (spoilt or {})[number]
            batch[key][(position, *(0,) * (batch[key].ndim - 1))] = math.nan
        made.append(batch)
    return made


class Explode(Callback):
    """Makes the gradient infinite at some batches."""

    def __init__(self, at: Iterable[int]) -> None:
        self.at = set(at)

    def on_after_backward(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.fit_loop.total_batch_idx in self.at:
            gradient = next(p.grad for p in pl_module.parameters() if p.grad is not None)
            gradient[0] = math.inf


def loader(data: list[ParticleBatch]) -> DataLoader[Any]:
    """Gives the batches as they are."""
    return DataLoader(data, batch_size=None)  # type: ignore[arg-type]


def fit(data: list[ParticleBatch], *callbacks: Callback, **options: Any) -> dict[str, Tensor]:
    """Weights after an epoch."""
    model = make_model()
    trainer = loops.make_trainer(*callbacks, limit_val_batches=0, **options)
    trainer.fit(model, loader(data))
    return {name: value.detach().clone() for name, value in model.named_parameters()}


@pytest.mark.parametrize("every", [1, 4])
@pytest.mark.parametrize("skip", [False, True])
def test_nothing_changes_where_all_is_finite(every: int, skip: bool) -> None:
    data = batches(6)
    found = fit(data, NonFiniteGuard(skip, every))
    assert loops.difference(found, fit(data)) == 0


@pytest.mark.parametrize("key", ["images", "ctf", "rotation"])
def test_a_particle_is_named(key: str) -> None:
    data = batches(4, {2: (key, 3)})
    row = 2 * COUNT + 3
    with pytest.raises(ValueError, match=rf"not finite at step 2.*: particle {row} \({key}\);"):
        fit(data, NonFiniteGuard())


def test_a_particle_is_left_out_and_counted() -> None:
    data = batches(6, {1: ("images", 0), 4: ("ctf", 2)})
    guard = NonFiniteGuard(skip=True)
    with pytest.warns(UserWarning, match=r"left out.*particle \d+ \((images|ctf), step"):
        found = fit(data, guard)
    assert guard.state_dict() == {"particles": 2, "steps": 0}
    # As if another particle of its batch had been there twice.
    clean: Any = batches(6)
    for batch, bad, good in ((1, 0, 1), (4, 2, 0)):
        for value in clean[batch].values():
            value[bad] = value[good]
    assert loops.difference(found, fit(clean)) == 0
    later = NonFiniteGuard(skip=True)
    later.load_state_dict(guard.state_dict())
    assert later.state_dict() == guard.state_dict()


def spoilt_stack(folder: Path) -> ParticleData:
    """A stack of 20 with two bad images for training, and one held out, in batches of 4."""
    options = tiny.write_stack(folder, 20) | {"batch_size": 4}
    data = ParticleData(**options)
    training, held_out = data.split
    images = np.memmap(options["particles"], np.float32, "r+", 1024, (20, tiny.BOX_SIZE**2))
    images[training[5], 7], images[training[6]] = math.nan, 2.5
    images[held_out[0], 3] = math.inf
    images.flush()
    return ParticleData(**options)


def test_bad_images_in_files_are_skipped(tmp_path: Path) -> None:
    data = spoilt_stack(tmp_path)
    training, held_out = data.split
    guard, model = NonFiniteGuard(skip=True), watched.make_model()
    trainer = loops.make_trainer(guard, limit_val_batches=1.0, num_sanity_val_steps=0)
    with pytest.warns(UserWarning, match="left out") as warned:
        trainer.fit(model, datamodule=data)
    assert guard.state_dict() == {"particles": 2 * trainer.current_epoch, "steps": 0}
    told = " ".join(str(warning.message) for warning in warned)
    for row in training[5:7]:
        assert f"particle {row} (images, step" in told
    assert f"held-out particle {held_out[0]} (images)" in told
    assert all(bool(value.isfinite().all()) for value in model.parameters())
    assert trainer.callback_metrics["val/loss"].isfinite()
    with torch.no_grad():
        seen = infer_particles(model.infer, all_batches(trainer, ModelAdapter()))
    assert seen.index is not None
    assert set(seen.index.tolist()) == set(range(20)) - {*training[5:7], held_out[0]}


def test_bad_images_in_files_are_named(tmp_path: Path) -> None:
    data = spoilt_stack(tmp_path)
    trainer = loops.make_trainer(NonFiniteGuard(), limit_val_batches=0)
    with pytest.raises(ValueError, match=r"image \d+@.*stack\.mrcs (is constant|has values that)"):
        trainer.fit(watched.make_model(), datamodule=data)


@pytest.mark.parametrize("accumulated", [1, 2])
def test_a_gradient_is_stopped(accumulated: int) -> None:
    data = batches(6)
    rows = ", ".join(str(row) for row in range(4 * COUNT, (4 + accumulated) * COUNT))
    step = 4 // accumulated
    words = rf"gradient was not finite at step {step}, .*particles {rows}\)"
    with pytest.raises(ValueError, match=words):
        fit(data, Explode([4]), NonFiniteGuard(), accumulate_grad_batches=accumulated)


def test_weights_are_as_before_a_stop() -> None:
    model, data = make_model(), batches(3)
    trainer = loops.make_trainer(Explode([0]), NonFiniteGuard(), limit_val_batches=0)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with pytest.raises(ValueError, match="lower learning rate"):
        trainer.fit(model, loader(data))
    after = {name: value.detach() for name, value in model.named_parameters()}
    assert loops.difference(before, after) == 0


def test_a_step_is_skipped_and_counted() -> None:
    guard = NonFiniteGuard(skip=True)
    with pytest.warns(UserWarning, match=r"left out.*step 2 \(its gradient\)"):
        found = fit(batches(6), Explode([2]), guard)
    assert guard.state_dict() == {"particles": 0, "steps": 1}
    assert all(bool(value.isfinite().all()) for value in found.values())


def test_a_batch_of_bad_particles_is_a_step_without_gradient() -> None:
    data: Any = batches(4)
    data[1]["images"][:] = math.nan
    guard = NonFiniteGuard(skip=True)
    with pytest.warns(UserWarning, match="left out"):
        found = fit(data, guard)
    assert guard.state_dict() == {"particles": COUNT, "steps": 1}
    assert all(bool(value.isfinite().all()) for value in found.values())


@pytest.mark.filterwarnings("ignore:left out:UserWarning")
def test_patience_has_an_end() -> None:
    with pytest.raises(ValueError, match=r"not finite at step 4.* in each of 3 steps up to there"):
        fit(batches(9), Explode([0, 2, 3, 4, 5]), NonFiniteGuard(skip=True, patience=3))


def test_batches_of_other_kinds_are_let_pass() -> None:
    expected = loops.without()
    assert loops.difference(expected, loops.without(NonFiniteGuard(skip=True))) == 0


@pytest.mark.parametrize("name", ["every_n_steps", "patience"])
def test_odd_numbers_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at least 1, found 0"):
        NonFiniteGuard(**cast(Any, {name: 0}))
