from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from torch import Tensor, nn

from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData, RealPreprocessing
from cryo_disentangle.particles.pickles import write_indices
from cryo_disentangle.types import ParticleBatch
from tests.forked import forked, together
from tests.particles.conftest import BOX_SIZE, N_IMAGES, Files, flat

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
]


class Recorder(L.LightningModule):
    """Learns a mean image and remembers which particles it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(BOX_SIZE + 1, BOX_SIZE + 1))
        self.seen: list[list[int]] = []
        self.validated: list[list[int]] = []

    def training_step(self, batch: ParticleBatch) -> Tensor:
        self.seen.append(batch["index"].tolist())
        return (batch["images"] - self.mean).square().mean()

    def validation_step(self, batch: ParticleBatch) -> None:
        self.validated.append(batch["index"].tolist())

    def test_step(self, batch: ParticleBatch) -> None:
        self.validation_step(batch)

    def predict_step(self, batch: ParticleBatch) -> Tensor:
        return batch["index"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.1)


class Stop(Callback):
    """Raises in the middle of a batch, as a kill would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_start(self, trainer: L.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            raise KeyboardInterrupt


def _trainer(folder: Path, *callbacks: Callback, **options: object) -> L.Trainer:
    settings: dict[str, Any] = {"max_epochs": 4, "accelerator": "cpu", "devices": 1} | options
    return L.Trainer(
        default_root_dir=folder,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=any(isinstance(each, ModelCheckpoint) for each in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def _data(files: Files, **options: object) -> ParticleData:
    settings: dict[str, Any] = {"batch_size": 2, "validation_fraction": 0.25} | options
    return ParticleData(files.stack, **settings)


def _checkpoint(folder: Path, every: int) -> ModelCheckpoint:
    return ModelCheckpoint(folder, filename="last", every_n_train_steps=every, save_top_k=1)


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


# 9 training particles in batches of 2: 4 batches an epoch, the last with three particles.
@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("stop", [5, 8, 11, 15])
@pytest.mark.parametrize("interval", [1.0, 0.4])
def test_a_resumed_run_equals_an_uninterrupted_one(
    files: Files, tmp_path: Path, every: int, stop: int, interval: float
) -> None:
    options = {"val_check_interval": interval, "num_sanity_val_steps": 0}
    whole = Recorder()
    _trainer(tmp_path, **options).fit(whole, datamodule=_data(files))
    assert len(whole.seen) == 16

    first = Recorder()
    with pytest.raises(KeyboardInterrupt):
        _fit(_trainer(tmp_path, _checkpoint(tmp_path, every), Stop(stop), **options), first, files)
    done = stop // every * every
    assert first.seen == whole.seen[:stop]

    second = Recorder()
    again = _checkpoint(tmp_path, every)
    _trainer(tmp_path, again, **options).fit(
        second, datamodule=_data(files), ckpt_path=str(tmp_path / "last.ckpt")
    )
    assert second.seen == whole.seen[done:]
    torch.testing.assert_close(second.mean, whole.mean, rtol=0, atol=0)


def _fit(trainer: L.Trainer, model: Recorder, files: Files) -> None:
    try:
        trainer.fit(model, datamodule=_data(files))
    except SystemExit:  # how some versions of Lightning end after Ctrl-C
        raise KeyboardInterrupt from None


def test_checkpoints_at_the_end_of_epochs_and_validations_resume(
    files: Files, tmp_path: Path
) -> None:
    for at_the_end_of_training in (False, True):
        folder = tmp_path / str(at_the_end_of_training)
        keep = ModelCheckpoint(
            folder, save_top_k=-1, save_on_train_epoch_end=at_the_end_of_training
        )
        whole = Recorder()
        _trainer(tmp_path, keep).fit(whole, datamodule=_data(files))
        (path,) = folder.glob("epoch=1*.ckpt")
        second = Recorder()
        again = ModelCheckpoint(folder, save_on_train_epoch_end=at_the_end_of_training)
        _trainer(tmp_path, again).fit(second, datamodule=_data(files), ckpt_path=str(path))
        assert second.seen == whole.seen[8:]
        torch.testing.assert_close(second.mean, whole.mean, rtol=0, atol=0)


def test_epochs_differ_and_leave_out_the_validation(files: Files, tmp_path: Path) -> None:
    model, data = Recorder(), _data(files)
    _trainer(tmp_path, max_epochs=2).fit(model, datamodule=data)
    training, validation = data.split
    first, second = model.seen[:4], model.seen[4:]
    assert sorted(flat(first)) == sorted(flat(second)) == training.tolist()
    assert first != second
    assert model.validated[-2:] == [validation[:2].tolist(), validation[2:].tolist()]
    other = _data(files, batch_size=5)
    np.testing.assert_array_equal(other.split[1], validation)


def test_prediction_and_test(files: Files, tmp_path: Path) -> None:
    model, data = Recorder(), _data(files, batch_size=5)
    seen = _trainer(tmp_path).predict(model, datamodule=data)
    assert seen is not None
    assert torch.cat(seen).tolist() == list(range(12))  # type: ignore[arg-type]
    _trainer(tmp_path).test(model, datamodule=data, verbose=False)
    assert flat(model.validated) == data.split[1].tolist()


@pytest.mark.filterwarnings("ignore:Total length of `list` across ranks is zero:UserWarning")
def test_no_validation_is_fine(files: Files, tmp_path: Path) -> None:
    model = Recorder()
    data = _data(files, validation_fraction=0.0)
    _trainer(tmp_path, max_epochs=1).fit(model, datamodule=data)
    assert sorted(flat(model.seen)) == list(range(12))
    assert model.validated == []


def test_limits_and_overfitting(files: Files, tmp_path: Path) -> None:
    model = Recorder()
    _trainer(tmp_path, max_epochs=2, limit_train_batches=2).fit(model, datamodule=_data(files))
    assert len(model.seen) == 4
    _trainer(tmp_path, fast_dev_run=True).fit(Recorder(), datamodule=_data(files))
    overfit = Recorder()
    with pytest.warns(UserWarning, match=r"You requested to overfit"):
        _trainer(tmp_path, max_epochs=2, overfit_batches=2).fit(overfit, datamodule=_data(files))
    assert overfit.seen[:2] == overfit.seen[2:]


def test_a_prediction_takes_the_normalisation_of_the_training(files: Files, tmp_path: Path) -> None:
    data = _data(files, seed=3)
    trainer = _trainer(tmp_path, max_epochs=1)
    trainer.fit(Recorder(), datamodule=data)
    trainer.save_checkpoint(tmp_path / "x.ckpt")
    torch.load(tmp_path / "x.ckpt", weights_only=True)
    with MrcsWriter(tmp_path / "brighter.mrcs", BOX_SIZE, 3.0) as writer:
        writer.write(files.images * 7)
    other = ParticleData(tmp_path / "brighter.mrcs", batch_size=4)
    _trainer(tmp_path).predict(Recorder(), datamodule=other, ckpt_path=str(tmp_path / "x.ckpt"))
    assert other.norm == data.norm
    np.testing.assert_array_equal(other.split[1], data.split[1])
    np.testing.assert_array_equal(other.split[0], data.split[0])
    fewer = ParticleData(files.stack, indices=None)
    fewer.load_state_dict(data.state_dict() | {"n_particles": 5})
    assert len(fewer.split[1]) == 1


def _held_out_rows(data: ParticleData) -> set[int]:
    return set(data.stack.rows[data.split[1]].tolist())


@pytest.mark.parametrize("later", [[4, 3, 2, 1, 0], [0, 1, 2, 3, 5], [1, 3], None])
def test_held_out_particles_stay_so_under_another_selection(
    files: Files, later: list[int] | None, tmp_path: Path
) -> None:
    write_indices(tmp_path / "first.pkl", np.arange(5))
    first = ParticleData(
        files.stack, indices=tmp_path / "first.pkl", validation_fraction=0.4, seed=1
    )
    assert len(_held_out_rows(first)) == 2
    write_indices(tmp_path / "later.pkl", np.arange(N_IMAGES) if later is None else later)
    other = ParticleData(
        files.stack, indices=tmp_path / "later.pkl", validation_fraction=0.4, seed=2
    )
    other.load_state_dict({"norm": (0.0, 1.0), **first.state_dict()})
    rows = set(other.stack.rows.tolist())
    expected = _held_out_rows(first) & rows
    if expected:
        assert _held_out_rows(other) == expected
    assert not set(other.stack.rows[other.split[0]].tolist()) & expected


def test_checkpoints_from_before_selections_were_kept(files: Files, tmp_path: Path) -> None:
    write_indices(tmp_path / "ind.pkl", [5, 3, 1, 0])
    first, other = (
        ParticleData(files.stack, indices=tmp_path / "ind.pkl", validation_fraction=0.5, seed=seed)
        for seed in (1, 2)
    )
    state = {"norm": (0.0, 1.0), **first.state_dict()}
    del state["selected"]
    other.load_state_dict(state)
    assert other.split[1].tolist() == first.split[1].tolist()


def test_a_split_of_none_of_the_particles_is_drawn_anew(files: Files, tmp_path: Path) -> None:
    write_indices(tmp_path / "first.pkl", [0, 1, 2])
    write_indices(tmp_path / "other.pkl", [3, 4, 5])
    first, other = (
        ParticleData(files.stack, indices=tmp_path / name, validation_fraction=0.4)
        for name in ("first.pkl", "other.pkl")
    )
    drawn = other.split[1].tolist()
    other.load_state_dict({"norm": (0.0, 1.0), **first.state_dict()})
    assert other.split[1].tolist() == drawn


def test_what_the_model_is_built_from_is_known_before_setup(files: Files) -> None:
    data = ParticleData(files.stack, poses=files.poses, ctf=files.ctf_file)
    assert data.box_size == BOX_SIZE
    assert data.pixel_size == 3.0
    assert data.norm == (0.0, data.norm_std)
    given_norm = HartleyPreprocessing(norm=(0.0, 5.0))
    assert ParticleData(files.stack, preprocessing=given_norm).norm_std == 5.0
    real = ParticleData(files.stack, preprocessing=RealPreprocessing())
    assert next(iter(real.train_dataloader()))["images"].shape == (8, BOX_SIZE, BOX_SIZE)


def test_nothing_is_opened_before_it_is_needed(tmp_path: Path) -> None:
    data = ParticleData(tmp_path / "none.mrcs")
    with pytest.raises(FileNotFoundError, match=r"none\.mrcs: no such file"):
        data.box_size  # noqa: B018
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, found 0"):
        ParticleData(tmp_path / "none.mrcs", batch_size=0)


class Report(Recorder):
    """Writes what it has seen into its trainer's folder."""

    def on_fit_end(self) -> None:
        self._write("fit", [self.seen, self.validated])

    def predict_step(self, batch: ParticleBatch) -> Tensor:
        self.validated.append(batch["index"].tolist())
        return batch["index"]

    def on_predict_end(self) -> None:
        self._write("predict", self.validated)

    def _write(self, name: str, content: object) -> None:
        file = Path(self.trainer.default_root_dir, f"{name}{self.global_rank}.json")
        file.write_text(json.dumps(content))


def distributed(stack: Path, folder: Path) -> None:
    """Trains and predicts as one of two processes."""
    options: Any = {"devices": 2, "strategy": "ddp", "max_epochs": 2, "num_sanity_val_steps": 0}
    data = ParticleData(stack, batch_size=2, validation_fraction=5 / 12)
    _trainer(folder, **options).fit(Report(), datamodule=data)
    _trainer(folder, **options).predict(Report(), datamodule=data)
    torch.distributed.destroy_process_group()


def test_two_processes_share_the_particles(files: Files, tmp_path: Path) -> None:
    together(distributed, files.stack, tmp_path)
    data = _data(files, validation_fraction=5 / 12)
    fits = [json.loads((tmp_path / f"fit{rank}.json").read_text()) for rank in range(2)]
    # 3 particles each in batches of 2: one batch, since none may hold a lone particle.
    assert [len(seen) for seen, _ in fits] == [2, 2]
    for epoch in (slice(0, 1), slice(1, 2)):
        shares = [flat(seen[epoch]) for seen, _ in fits]
        assert [len(share) for share in shares] == [3, 3]
        assert len(set(shares[0]) | set(shares[1])) == 6
        assert set(shares[0]) | set(shares[1]) <= set(data.split[0].tolist())
    # 5 particles: 3 and 2, and as many batches on both ranks, since validation steps are joint.
    last = [validated[-2:] for _, validated in fits]
    assert [[len(batch) for batch in batches] for batches in last] == [[2, 1], [1, 1]]
    assert sorted(flat(flat(last))) == data.split[1].tolist()
    predicted = [
        flat(json.loads((tmp_path / f"predict{rank}.json").read_text())) for rank in range(2)
    ]
    assert sorted(flat(predicted)) == list(range(12))


class Killed(Recorder):
    """Ends in the middle of an epoch."""

    def training_step(self, batch: ParticleBatch) -> Tensor:
        if self.global_step == 7:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().training_step(batch)


def killed(stack: Path, folder: Path) -> None:
    """Trains until it is killed."""
    data = ParticleData(stack, batch_size=2, validation_fraction=0.25)
    _trainer(folder, _checkpoint(folder, 3)).fit(Killed(), datamodule=data)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_a_killed_process_is_resumed_exactly(files: Files, tmp_path: Path) -> None:
    with forked(killed, files.stack, tmp_path) as process:
        assert process.wait() == -signal.SIGKILL, process.said()
    whole, resumed = Recorder(), Recorder()
    _trainer(tmp_path).fit(whole, datamodule=_data(files))
    again = _checkpoint(tmp_path, 3)
    _trainer(tmp_path, again).fit(
        resumed, datamodule=_data(files), ckpt_path=str(tmp_path / "last.ckpt")
    )
    assert resumed.seen == whole.seen[6:]
    torch.testing.assert_close(resumed.mean, whole.mean, rtol=0, atol=0)
