"""Runs that come in and go out again unchanged."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from cryo_disentangle.interop import CryoDRGNParticles, CryoDRGNRun
from cryo_disentangle.interop.config import read_config
from cryo_disentangle.interop.networks import build_decoder, build_encoder, cryodrgn_model_args
from cryo_disentangle.interop.writing import CryoDRGNWriter
from cryo_disentangle.modules import CryoDRGNReconstruction
from cryo_disentangle.particles import HartleyPreprocessing, ParticleData
from cryo_disentangle.particles.pickles import read_ctf, read_indices, read_poses, write_indices
from tests.helpers import shared
from tests.interop import runs
from tests.particles import formats


def bytes_of(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def hand_back(folder: Path, out: Path) -> CryoDRGNRun:
    """Imports a run and exports it."""
    run = CryoDRGNRun.open(folder)
    model = CryoDRGNReconstruction(folder)
    optimizer = model.configure_optimizers()
    writer = CryoDRGNWriter(out)
    writer.write_latents(*run.latents(), run.epoch)
    writer.write_config(model, CryoDRGNParticles(folder))
    writer.write_weights(model, [optimizer], run.epoch)
    return run


@pytest.mark.parametrize("name", runs.MODELS)
def test_round_trip(name: str, tmp_path: Path) -> None:
    folder, out = runs.golden_run(tmp_path, name), tmp_path / "out"
    runs.edit(folder, dataset_args={"window_r": 0.7})
    hand_back(folder, out)
    theirs, ours = (torch.load(path / "weights.pkl", weights_only=True) for path in (folder, out))
    assert ours["epoch"] == theirs["epoch"]
    assert list(ours["model_state_dict"]) == list(theirs["model_state_dict"])
    for key, value in theirs["model_state_dict"].items():
        assert bytes_of(ours["model_state_dict"][key]) == bytes_of(value), key
    state, expected = ours["optimizer_state_dict"], theirs["optimizer_state_dict"]
    assert state["param_groups"][0]["lr"] == expected["param_groups"][0]["lr"]
    assert state["state"].keys() == expected["state"].keys()
    for number, moments in expected["state"].items():
        for key, value in moments.items():
            assert torch.equal(state["state"][number][key], torch.as_tensor(value)), (number, key)
    config, golden = runs.read_yaml(out), runs.read_yaml(folder)
    assert config["model_args"] == golden["model_args"]
    assert config["lattice_args"] == golden["lattice_args"]
    for key in set(golden["dataset_args"]) - {"poses", "ctf"}:
        assert config["dataset_args"][key] == golden["dataset_args"][key], key
    assert (out / "z.2.pkl").read_bytes() == (out / "z.pkl").read_bytes()
    both = (CryoDRGNRun.open(path).latents() for path in (out, folder))
    for found, kept in zip(*both, strict=True):
        assert np.array_equal(found, kept)
    written, given = config["dataset_args"], golden["dataset_args"]
    assert np.array_equal(read_ctf(written["ctf"]), read_ctf(given["ctf"]))
    poses: list[Any] = [read_poses(paths["poses"]) for paths in (written, given)]
    assert np.array_equal(poses[0][0], poses[1][0])
    np.testing.assert_allclose(poses[0][1], poses[1][1], rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"feat_sigma": 0.7},
        {"enc_mask": -1},
        {"encode_mode": "mlp"},
        {"activation": "leaky_relu"},
        {"pe_dim": 5},
        {"pe_type": "geom_ft"},
        {"pe_type": "linear_lowf", "domain": "hartley"},
    ],
    ids=str,
)
def test_every_choice_comes_back(changes: dict[str, Any], tmp_path: Path) -> None:
    folder = runs.edit(runs.golden_run(tmp_path), model_args=changes)
    settings = read_config(folder / "config.yaml").networks
    assert settings is not None
    encoder, decoder = build_encoder(settings, 32), build_decoder(settings, 32)
    assert encoder is not None
    weights = torch.load(folder / "weights.pkl", weights_only=True)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    state |= {f"decoder.{name}": value for name, value in decoder.state_dict().items()}
    torch.save(weights | {"model_state_dict": state}, folder / "weights.pkl")
    model = CryoDRGNReconstruction(folder)
    assert cryodrgn_model_args(model) == runs.read_yaml(folder)["model_args"]
    for name, value in state.items():
        assert torch.equal(model.state_dict()[name], value)


def test_factors_that_cryodrgn_has_not_are_named(tmp_path: Path) -> None:
    made = formats.truth()
    formats.write_stack(tmp_path / "stack.mrcs", made.images())
    factors = np.linspace(0.5, 1.5, formats.COUNT)
    table = formats.star(tmp_path, made, CtfScalefactor=factors, CtfBfactor=30 * factors)
    data = ParticleData(table, preprocessing=HartleyPreprocessing(norm=(0.0, 1.0)))
    model = CryoDRGNReconstruction(runs.golden_run(tmp_path))
    with pytest.warns(UserWarning, match=r"p\.star: B factors and scale factors .* are left out"):
        CryoDRGNWriter(tmp_path / "out").write_config(model, data)


def test_poses_that_were_refined_of_a_selection(tmp_path: Path) -> None:
    """Pose refinement saves poses of the selected images alone, and CTF stay of all."""
    folder, out = runs.golden_run(tmp_path), tmp_path / "out"
    chosen = np.array([1, 4, 7, 20])
    write_indices(tmp_path / "ind.pkl", chosen)
    rotation: Any
    rotation, fraction = read_poses(shared("golden/cryodrgn/dataset/poses.pkl"))
    assert fraction is not None
    with (folder / "pose.pkl").open("wb") as file:
        pickle.dump((rotation[chosen], fraction[chosen]), file)
    ind = str(tmp_path / "ind.pkl")
    runs.edit(folder, dataset_args={"ind": ind, "do_pose_sgd": True})
    hand_back(folder, out)
    written = runs.read_yaml(out)["dataset_args"]
    assert len(read_poses(written["poses"])[0]) == 4
    assert len(read_ctf(written["ctf"])) == 24
    assert np.array_equal(read_indices(written["ind"]), chosen)
    opened: Any = CryoDRGNRun.open(out).data().stack
    np.testing.assert_allclose(opened.rotation, rotation[chosen], atol=1e-6)
