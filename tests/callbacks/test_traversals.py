"""Volumes along latent coordinates while a model is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import mrcfile
import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback

from cryo_disentangle.callbacks import TraversalVolumes
from cryo_disentangle.files import read_volume
from tests import tiny
from tests.callbacks import foreign, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

TOLD: dict[str, Any] = {"infer": foreign.infer, "as_batch": foreign.as_batch}


def blob(module: torch.nn.Module, conformation: torch.Tensor) -> torch.Tensor:
    """A volume of a user's."""
    assert conformation.device == next(module.parameters()).device
    return torch.full((6, 6, 6), float(conformation[0]))


@pytest.mark.usefixtures("whole_pictures")
def test_volumes_of_our_model(tmp_path: Path) -> None:
    model = watched.fit(tmp_path, TraversalVolumes(every_n_epochs=2, steps=3), max_epochs=3)
    assert sorted(path.name for path in (tmp_path / "traversals").iterdir()) == [
        "epoch_002",
        "epoch_003",
    ]
    folder = tmp_path / "traversals/epoch_003"
    files = [f"z{k}_{step:02d}.mrc" for k in (1, 2) for step in (1, 2, 3)]
    tables = [f"z{k}{end}" for k in (1, 2) for end in (".cxc", "_values.txt")]
    found = sorted(path.name for path in folder.iterdir())
    assert found == sorted([*files, *tables, "projections.png"])
    for k in (1, 2):
        values = np.loadtxt(folder / f"z{k}_values.txt", dtype=np.float32)
        for step in (1, 2, 3):
            volume, pixel_size = read_volume(folder / f"z{k}_{step:02d}.mrc")
            expected = model.volume(torch.from_numpy(values[step - 1]))
            np.testing.assert_allclose(volume, expected.numpy(), atol=1e-6)
            assert pixel_size == pytest.approx(tiny.PIXEL_SIZE)
        middle, _ = read_volume(folder / f"z{k}_02.mrc")
        script = (folder / f"z{k}.cxc").read_text()
        level = float(script.split("level ")[1].split()[0])
        assert level == pytest.approx(middle.mean() + 3 * middle.std(), rel=1e-4)
        assert f"z{k}_01.mrc z{k}_02.mrc z{k}_03.mrc vseries true" in script
    assert mrcfile.validate(folder / "z1_01.mrc")
    width, height = watched.size_of_picture(folder / "projections.png")
    assert 300 < width < 1200
    assert 300 < height < 1200


def test_smaller_volumes(tmp_path: Path) -> None:
    watched.fit(tmp_path, TraversalVolumes(steps=2, volume_box_size=8))
    volume, pixel_size = read_volume(tmp_path / "traversals/epoch_002/z2_02.mrc")
    assert volume.shape == (8, 8, 8)
    assert pixel_size == pytest.approx(2 * tiny.PIXEL_SIZE)


def test_volumes_of_a_users_module(tmp_path: Path) -> None:
    watched.fit_foreign(tmp_path, TraversalVolumes(steps=2, volume=blob, pixel_size=3.0, **TOLD))
    folder = tmp_path / "traversals/epoch_002"
    volume, pixel_size = read_volume(folder / "z1_02.mrc")
    expected = np.loadtxt(folder / "z1_values.txt")[1, 0]
    np.testing.assert_allclose(volume, np.full((6, 6, 6), expected), rtol=1e-6)
    assert pixel_size == pytest.approx(3)


def test_a_users_module_without_volumes_shows_images(tmp_path: Path) -> None:
    watched.fit_foreign(tmp_path, TraversalVolumes(generate=foreign.generate, **TOLD))
    folder = tmp_path / "traversals/epoch_002"
    assert [path.name for path in folder.iterdir()] == ["projections.png"]
    watched.size_of_picture(folder / "projections.png")


def test_images_of_hartley_transforms_are_shown_in_real_space(tmp_path: Path) -> None:
    class Hidden(L.LightningModule):
        """Our model behind a user's name, without volumes."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = watched.make_model()

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            del batch_idx
            return self.inner.infer(batch).mean.square().mean()

        def validation_step(self, batch: Any, batch_idx: int) -> None: ...

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    def infer(module: Hidden, batch: Any) -> Any:
        return module.inner.infer(batch)

    def generate(module: Hidden, conformation: Any, pose: Any, batch: Any) -> Any:
        return module.inner.generate(conformation, pose, batch)

    options: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 0}
    trainer = watched.make_trainer(
        tmp_path, TraversalVolumes(infer=infer, generate=generate), **options
    )
    trainer.fit(Hidden(), datamodule=watched.make_data(tmp_path, validation_fraction=0.0))
    watched.size_of_picture(tmp_path / "traversals/epoch_001/projections.png")


def test_the_one_that_fails_ends_nothing(tmp_path: Path) -> None:
    def broken(module: Any, conformation: Any) -> Any:
        del module, conformation
        raise MemoryError("a volume too many")

    told = TraversalVolumes(volume=broken, **TOLD)
    with pytest.warns(UserWarning, match="no traversal, training continues: MemoryError: a volume"):
        model = watched.fit_foreign(tmp_path, told)
    assert model.training


def test_from_a_configuration_file() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Callback, "callback")
    told = {
        "percentiles": [1, 99],
        "volume_box_size": 32,
        "volume": "tests.callbacks.foreign.generate",
    }
    name = "cryo_disentangle.callbacks.traversals.TraversalVolumes"
    config = parser.parse_object({"callback": {"class_path": name, "init_args": told}})
    volumes = parser.instantiate(config).callback
    assert isinstance(volumes, TraversalVolumes)
    assert tuple(volumes.percentiles) == (1, 99)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"steps": 1}, "at least 2 steps and 2 particles, found 1 and 2000"),
        ({"particles": 1}, "at least 2 steps and 2 particles, found 7 and 1"),
        ({"percentiles": (95, 5)}, r"must ascend between 0 and 100, found \[95, 5\]"),
        ({"percentiles": (5, 101)}, r"must ascend between 0 and 100, found \[5, 101\]"),
        ({"pixel_size": 0.0}, "pixel_size must be positive, found 0"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        TraversalVolumes(**wrong)


def test_a_module_of_which_there_is_nothing_to_see_is_refused() -> None:
    trainer = L.Trainer(logger=False, accelerator="cpu")
    with pytest.raises(TypeError, match=r"ConvolutionalVAE has no generate\("):
        TraversalVolumes(**TOLD).setup(trainer, foreign.ConvolutionalVAE(), "fit")
    with pytest.raises(TypeError, match="volume: cannot import 'nothing'"):
        TraversalVolumes(volume="nothing")
