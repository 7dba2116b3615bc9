"""The cryoDRGN folder: layouts, names and numbers as cryoDRGN keeps them."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback

from cryo_disentangle.callbacks.export import CryoDRGNExport
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import RealPreprocessing
from cryo_disentangle.particles.pickles import (
    read_ctf,
    read_indices,
    read_latents,
    read_poses,
    write_indices,
)
from tests import tiny
from tests.callbacks import foreign, watched
from tests.helpers import shared

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

TOLD: dict[str, Any] = {"infer": foreign.infer, "as_batch": foreign.as_batch}


def read_config(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    return config


def test_folder_of_a_run(tmp_path: Path) -> None:
    export = CryoDRGNExport(every_n_epochs=2)
    model = watched.fit(tmp_path, export, max_epochs=3)
    folder = tmp_path / "cryodrgn"
    numbered = {f"{kind}{n}.pkl" for kind in ("z", "weights") for n in ("", ".2", ".3")}
    tables = {"config.yaml", "poses.pkl", "ctf.pkl", "run.log"}
    assert {path.name for path in folder.iterdir()} == numbered | tables
    with (folder / "z.3.pkl").open("rb") as file:
        mean, log_variance = pickle.load(file), pickle.load(file)
        assert not file.read()
    data = watched.make_data(tmp_path)
    with torch.no_grad():
        parts = [model.infer(batch) for batch in data.predict_dataloader()]
    for found, name in ((mean, "mean"), (log_variance, "log_variance")):
        assert (found.shape, found.dtype) == ((60, 2), np.float32)
        expected = torch.cat([getattr(part, name) for part in parts]).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    weights = torch.load(folder / "weights.3.pkl", weights_only=True)
    assert weights["epoch"] == 3
    for name, value in model.state_dict().items():
        if name.startswith(("encoder.", "decoder.")):
            assert torch.equal(weights["model_state_dict"][name], value)
    assert weights["optimizer_state_dict"]["state"]
    for kind in ("z", "weights"):
        last = (folder / f"{kind}.3.pkl").read_bytes()
        assert (folder / f"{kind}.pkl").read_bytes() == last
    lines = (folder / "run.log").read_text().splitlines()
    assert len(lines) == 2
    for line in lines:
        # How cryoDRGN finds its learning curve.
        assert "====" in line
        assert re.search(r"total\sloss\s=\s(\d.\d+)", line)


def test_configuration_of_a_run(tmp_path: Path) -> None:
    watched.fit(tmp_path, CryoDRGNExport())
    folder = tmp_path / "cryodrgn"
    config = read_config(folder)
    golden = read_config(shared("golden/cryodrgn/model_fourier"))
    assert set(config) - set(golden) == {"written_by"}
    assert set(golden) <= set(config)
    assert config["dataset_args"].keys() == golden["dataset_args"].keys()
    assert config["model_args"].keys() == golden["model_args"].keys()
    data = watched.make_data(tmp_path)
    assert config["lattice_args"] == {"D": 17, "extent": 0.5, "ignore_DC": True}
    dataset = config["dataset_args"]
    assert dataset["norm"] == [0.0, pytest.approx(data.norm_std)]
    assert dataset["invert_data"] is True
    assert dataset["ind"] is None
    assert Path(dataset["particles"]) == Path(data.particles).resolve()
    rotation, translation = read_poses(dataset["poses"])
    assert translation is not None
    assert data.stack.rotation is not None
    assert data.stack.translation is not None
    np.testing.assert_allclose(rotation, data.stack.rotation, atol=1e-6)
    np.testing.assert_allclose(translation * 17, data.stack.translation, atol=1e-5)
    np.testing.assert_array_equal(read_ctf(dataset["ctf"]), data.stack.ctf)


def test_a_selection_keeps_whole_tables(tmp_path: Path) -> None:
    chosen = np.arange(5, 55)
    write_indices(tmp_path / "chosen.pkl", chosen)
    data = watched.make_data(tmp_path, indices=tmp_path / "chosen.pkl")
    trainer = watched.make_trainer(tmp_path, CryoDRGNExport(), max_epochs=1)
    trainer.fit(watched.make_model(), datamodule=data)
    dataset = read_config(tmp_path / "cryodrgn")["dataset_args"]
    np.testing.assert_array_equal(read_indices(dataset["ind"]), chosen)
    assert len(read_ctf(dataset["ctf"])) == 60
    assert len(read_poses(dataset["poses"])[0]) == 60
    assert len(read_latents(tmp_path / "cryodrgn/z.1.pkl")[0]) == 50


def test_stacks_without_poses_and_ctf_have_no_tables(tmp_path: Path) -> None:
    class Blind(HeterogeneousReconstruction):
        """Trains on latents alone, so that no pose is asked for."""

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002
            return self.infer(batch).mean.square().mean()

    data = watched.make_data(tmp_path, poses=None, ctf=None)
    model = Blind(tiny.BOX_SIZE, 2)
    trainer = watched.make_trainer(tmp_path, CryoDRGNExport(), max_epochs=1, limit_val_batches=0)
    trainer.fit(model, datamodule=data)
    dataset = read_config(tmp_path / "cryodrgn")["dataset_args"]
    assert (dataset["poses"], dataset["ctf"]) == (None, None)
    # cryoDRGN opens it for its learning curve.
    assert (tmp_path / "cryodrgn/run.log").read_text() == ""


def test_of_a_users_module_latents_alone(tmp_path: Path) -> None:
    reason = r"no cryoDRGN weights and configuration.*found ConvolutionalVAE"
    with pytest.warns(UserWarning, match=reason):
        model = watched.fit_foreign(tmp_path, CryoDRGNExport(**TOLD))
    names = {path.name for path in (tmp_path / "cryodrgn").iterdir()}
    assert names == {"z.1.pkl", "z.2.pkl", "z.pkl"}
    images = foreign.make_particles(40).tensors[0]
    with torch.no_grad():
        expected = model.encode(images)[0].numpy()
    np.testing.assert_allclose(read_latents(tmp_path / "cryodrgn/z.2.pkl")[0], expected, atol=1e-6)


def test_images_in_real_space_are_none_of_cryodrgns(tmp_path: Path) -> None:
    class Real(HeterogeneousReconstruction):
        """Reads nothing."""

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:  # noqa: ARG002
            return sum((p.square().sum() for p in self.encoder.parameters()), torch.zeros(()))

    def infer(module: Any, batch: Any) -> Any:
        del module
        zero = torch.zeros(len(batch["images"]), 2)
        return zero, zero

    data = watched.make_data(tmp_path, preprocessing=RealPreprocessing(norm=(0.0, 1.0)))
    export = CryoDRGNExport(infer=infer)
    trainer = watched.make_trainer(tmp_path, export, max_epochs=1, limit_val_batches=0)
    with pytest.warns(UserWarning, match="prepares them as HartleyPreprocessing does"):
        trainer.fit(Real(tiny.BOX_SIZE, 2), datamodule=data)


def test_a_process_that_fails_is_told(tmp_path: Path) -> None:
    def broken(module: Any, batch: Any) -> Any:
        del module, batch
        raise RuntimeError("out of order")

    export = CryoDRGNExport(infer=broken, as_batch=foreign.as_batch)
    with (
        pytest.warns(UserWarning, match="no cryoDRGN weights"),
        pytest.warns(UserWarning, match="a process has inferred no latents"),
        pytest.warns(
            UserWarning, match="no latents, training continues: RuntimeError: out of order"
        ),
    ):
        watched.fit_foreign(tmp_path, export)


def test_from_a_configuration_file() -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(Callback, "callback")
    name = "cryo_disentangle.callbacks.export.CryoDRGNExport"
    told = {"every_n_epochs": 4, "infer": "tests.callbacks.foreign.infer"}
    config = parser.parse_object({"callback": {"class_path": name, "init_args": told}})
    export = parser.instantiate(config).callback
    assert isinstance(export, CryoDRGNExport)
    assert export.every_n_epochs == 4
