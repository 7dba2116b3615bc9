"""Pictures of the latent space: which are drawn, of whom, and what a checkpoint keeps."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import Logger

from cryo_disentangle.callbacks import PoseLeak, latent_figures
from cryo_disentangle.callbacks.latent_figures import LatentFigures
from tests.callbacks import foreign, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

TOLD: dict[str, Any] = {
    "infer": "tests.callbacks.foreign.infer",
    "as_batch": "tests.callbacks.foreign.as_batch",
}


class Board(Logger):
    """A logger that can show figures, as TensorBoard's."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, int]] = []

    @property
    def name(self) -> str:
        return "board"

    @property
    def version(self) -> int:
        return 0

    @property
    def experiment(self) -> Board:
        return self

    def add_figure(self, tag: str, figure: object, global_step: int, close: bool) -> None:
        del figure, close
        self.tags.append((tag, global_step))

    def log_metrics(self, metrics: Any, step: int | None = None) -> None: ...

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None: ...


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "figures").iterdir()}


def write_truth(folder: Path, count: int = 60) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.savez(folder / "truth.npz", factors=rng.uniform(-1, 1, (count, 2)))
    return folder / "truth.npz"


@pytest.mark.usefixtures("whole_pictures")
def test_all_pictures_of_a_simulated_stack(tmp_path: Path) -> None:
    board = Board()
    watched.fit(tmp_path, LatentFigures(2, write_truth(tmp_path)), max_epochs=3, logger=board)
    kinds = {"latents", "poses", "factors", "drift", "metrics"}
    assert names(tmp_path) == {f"epoch_{n:03d}_{kind}.png" for n in (2, 3) for kind in kinds}
    for path in (tmp_path / "figures").iterdir():
        width, height = watched.size_of_picture(path)
        assert 300 < width < 2600
        assert 200 < height < 2600
    assert sorted(board.tags) == sorted((f"figures/{k}", n) for n in (10, 15) for k in kinds)


def test_what_is_not_known_is_not_drawn(tmp_path: Path) -> None:
    watched.fit(tmp_path, LatentFigures(), max_epochs=1)
    assert names(tmp_path) == {f"epoch_001_{kind}.png" for kind in ("poses", "drift", "metrics")}


def test_a_users_module_by_one_line(tmp_path: Path) -> None:
    watched.fit_foreign(tmp_path, LatentFigures(**TOLD), max_epochs=1)
    assert names(tmp_path) == {f"epoch_001_{kind}.png" for kind in ("poses", "drift", "metrics")}


def test_the_one_that_fails_ends_nothing(tmp_path: Path) -> None:
    def constant(module: Any, batch: Any) -> Any:
        del module
        zero = torch.zeros(len(batch["images"]), 2)
        return zero, zero

    figures = LatentFigures(infer=constant, as_batch=foreign.as_batch)
    with pytest.warns(UserWarning, match="no picture of drift.*all particles are the same"):
        watched.fit_foreign(tmp_path, figures)
    assert "epoch_002_poses.png" in names(tmp_path)
    assert "epoch_002_drift.png" not in names(tmp_path)


def test_a_model_that_fails_leaves_the_metrics(tmp_path: Path) -> None:
    def broken(module: Any, batch: Any) -> Any:
        del module, batch
        raise RuntimeError("out of order")

    figures = LatentFigures(infer=broken, as_batch=foreign.as_batch)
    with pytest.warns(UserWarning, match="RuntimeError: out of order"):
        watched.fit_foreign(tmp_path, figures)
    assert names(tmp_path) == {"epoch_001_metrics.png", "epoch_002_metrics.png"}


def test_truth_of_another_stack_is_told_before_the_run(tmp_path: Path) -> None:
    figures = LatentFigures(truth=write_truth(tmp_path, count=3))
    with pytest.raises(ValueError, match=r"truth\.npz: 3 rows, expected one for each image"):
        watched.fit(tmp_path, figures, max_epochs=1)


def test_a_loop_without_a_data_set_ends_nothing(tmp_path: Path) -> None:
    class Endless(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            yield from foreign.loader(16)

    model = foreign.ConvolutionalVAE()
    loader = torch.utils.data.DataLoader(Endless(), batch_size=None)
    with pytest.warns(UserWarning, match="found a training loader of type DataLoader"):
        watched.make_trainer(tmp_path, LatentFigures(**TOLD), max_epochs=1).fit(model, loader)


@pytest.mark.filterwarnings("ignore:The dirpath has changed:UserWarning")
def test_metrics_survive_a_checkpoint(tmp_path: Path) -> None:
    def run(name: str, epochs: int, ckpt_path: Path | None = None) -> dict[str, Any]:
        figures = LatentFigures(every_n_epochs=10)
        checkpoint = ModelCheckpoint(tmp_path / name, save_last=True)
        options: dict[str, Any] = {"max_epochs": epochs, "enable_checkpointing": True}
        trainer = watched.make_trainer(tmp_path, figures, checkpoint, **options)
        data = watched.make_data(tmp_path)
        trainer.fit(watched.make_model(), datamodule=data, ckpt_path=ckpt_path)
        return figures.state_dict()

    whole = run("whole", 3)
    run("begun", 2)
    resumed = run("resumed", 3, tmp_path / "begun/last.ckpt")
    assert set(whole["curves"]["val/loss"]) == {1, 2, 3}
    assert resumed == whole


def test_metrics_of_an_earlier_validation_are_not_repeated(tmp_path: Path) -> None:
    figures = LatentFigures(every_n_epochs=10)
    watched.fit(tmp_path, figures, max_epochs=4, check_val_every_n_epoch=2)
    assert set(figures.state_dict()["curves"]["val/loss"]) == {2, 4}
    assert set(figures.state_dict()["curves"]["train/loss"]) == {1, 2, 3, 4}


def test_scores_are_drawn_from_their_tables(tmp_path: Path) -> None:
    figures, leak = LatentFigures(every_n_epochs=10), PoseLeak(every_n_epochs=2, prefix="leaks")
    watched.fit(tmp_path, figures, leak, max_epochs=3)
    assert {name.partition("/")[0] for name in figures.state_dict()["curves"]} == {"train", "val"}
    assert set(leak.headline_curves["pose_leak/nonlinear_r2"]) == {1, 3}
    assert {name.partition("/")[0] for name in leak.last_scores} == {"leaks"}
    trainer: Any = SimpleNamespace(callbacks=[figures, leak])
    (title,) = latent_figures._scores(trainer)
    assert title.startswith("leaks: R² of z from what")


def test_metrics_that_are_logged_twice_are_kept_once(tmp_path: Path) -> None:
    class Logs(foreign.ConvolutionalVAE):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            self.log("both", loss, on_step=True, on_epoch=True)
            return loss

    figures = LatentFigures(**TOLD)
    trainer = watched.make_trainer(tmp_path, figures, max_epochs=1)
    trainer.fit(Logs(), foreign.loader())
    assert set(figures.state_dict()["curves"]) == {"loss", "both"}


def test_from_a_configuration_file() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Callback, "callback")
    told = {"every_n_epochs": 3, "truth": "truth.npz", "particles": 50} | TOLD
    name = "cryo_disentangle.callbacks.latent_figures.LatentFigures"
    config = parser.parse_object({"callback": {"class_path": name, "init_args": told}})
    figures = parser.instantiate(config).callback
    assert isinstance(figures, LatentFigures)
    assert (figures.every_n_epochs, figures.particles) == (3, 50)


def test_bad_input_is_told_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 10 particles, found 9"):
        LatentFigures(particles=9)
    trainer, model = L.Trainer(logger=False, accelerator="cpu"), watched.make_model()
    with pytest.raises(FileNotFoundError, match=r"absent\.npz: no such file"):
        LatentFigures(truth=tmp_path / "absent.npz").setup(trainer, model, "fit")
    np.savez(tmp_path / "other.npz", time=np.zeros(3))
    with pytest.raises(ValueError, match=r"other\.npz: true factors expected, found none"):
        LatentFigures(truth=tmp_path / "other.npz").setup(trainer, model, "fit")
