"""Folders of cryoDRGN runs for tests: the golden ones, and others made of them."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cryo_disentangle.particles.pickles import read_poses, write_latents
from tests.helpers import shared

MODELS = ["model_fourier", "model_hartley"]


def golden_run(folder: Path, name: str = "model_fourier") -> Path:
    """Copies a golden run and tells it where its data lie."""
    source, data = shared(f"golden/cryodrgn/{name}"), shared("golden/cryodrgn/dataset")
    run = folder / name
    run.mkdir()
    for file in ("weights.pkl", "z.pkl"):
        shutil.copyfile(source / file, run / file)
    (run / "config.yaml").write_text((source / "config.yaml").read_text())
    files = {"particles": "particles.mrcs", "poses": "poses.pkl", "ctf": "ctf.pkl"}
    return edit(run, dataset_args={key: str(data / file) for key, file in files.items()})


def read_yaml(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((run / "config.yaml").read_text())
    return content


def edit(run: Path, **sections: dict[str, Any]) -> Path:
    """Changes keys of a run's configuration; None takes a key away."""
    content = read_yaml(run)
    for name, changes in sections.items():
        content[name] = content.get(name, {}) | changes
        for key in [key for key, value in changes.items() if value is None]:
            del content[name][key]
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    return run


def edit_weights(run: Path, epoch: int | None = None, **changes: Any) -> Path:
    """Writes weights with other content, under their own name or that of an epoch."""
    weights = torch.load(run / "weights.pkl", weights_only=True) | changes
    if epoch is not None:
        weights["epoch"] = epoch
    name = "weights.pkl" if epoch is None else f"weights.{epoch}.pkl"
    torch.save(weights, run / name)
    return run


def decoder_run(folder: Path) -> Path:
    """A run as ``train_dec`` leaves it: the golden decoder and a table of latents."""
    run = golden_run(folder)
    weights = torch.load(run / "weights.pkl", weights_only=True)
    state = weights["model_state_dict"]
    alone = {
        name.removeprefix("decoder."): value
        for name, value in state.items()
        if name.startswith("decoder.")
    }
    torch.save(weights | {"model_state_dict": alone, "norm": [0.0, 40.0]}, run / "weights.pkl")
    latents = np.random.default_rng(0).normal(size=(24, 3))
    write_latents(run / "z.pkl", latents)
    theirs = ("qlayers", "qdim", "players", "pdim", "encode_mode", "enc_mask", "tilt_params")
    changes: dict[str, Any] = dict.fromkeys(theirs)
    return edit(run, model_args=changes | {"layers": 2, "dim": 64})


def homogeneous_run(folder: Path) -> Path:
    """A run as ``train_nn`` leaves it: a decoder without z."""
    run = decoder_run(folder)
    weights = torch.load(run / "weights.pkl", weights_only=True)
    state = weights["model_state_dict"]
    state["decoder.main.0.weight"] = state["decoder.main.0.weight"][:, :-3].clone()
    torch.save(weights, run / "weights.pkl")
    (run / "z.pkl").unlink()
    return edit(run, model_args={"zdim": None})


def abinit_run(folder: Path) -> Path:
    """A run as ``abinit`` (DRGN-AI) leaves it, of the golden Hartley model's size."""
    run = golden_run(folder, "model_hartley")
    (run / "z.pkl").unlink()
    torch.manual_seed(0)
    sizes = [(64, 6 * 5 + 3), (64, 64), (1, 64)]
    state: dict[str, torch.Tensor] = {"rand_freqs": torch.randn(15, 3)}
    for name, size in zip(("main.0", "main.2.linear", "main.4"), sizes, strict=True):
        state[f"mlp.{name}.weight"] = torch.randn(size)
        state[f"mlp.{name}.bias"] = torch.randn(size[0])
    params = {
        "resolution": 33,
        "z_dim": 3,
        "n_layers": 1,
        "hidden_dim": 64,
        "pe_type": "gaussian",
        "pe_dim": 5,
        "feat_sigma": 0.5,
        "domain": "hartley",
        "pe_type_conf": None,
    }
    (run / "weights.pkl").unlink()
    content = {
        "epoch": 4,
        "model_state_dict": {f"hypervolume.{name}": value for name, value in state.items()},
        "hypervolume_state_dict": state,
        "hypervolume_params": params,
        "optimizers_state_dict": {},
        "output_mask_radius": 16,
    }
    torch.save(content, run / "weights.4.pkl")
    write_latents(run / "z.4.pkl", np.zeros((24, 3)))
    rotation, fraction = read_poses(shared("golden/cryodrgn/dataset/poses.pkl"))
    assert fraction is not None
    with (run / "pose.4.pkl").open("wb") as file:
        pickle.dump((rotation.astype(np.float64), fraction.astype(np.float64) * 33), file)
    config = read_yaml(run)
    for key in ("norm", "poses", "window", "window_r", "keepreal", "do_pose_sgd"):
        del config["dataset_args"][key]
    config["model_args"] = {"zdim": 3, "pe_type": "gaussian", "domain": "hartley"}
    config |= {"data_norm_mean": 0.0, "data_norm_std": 40.0}
    config["training"] = {"window_radius_gt_real": 0.8}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run
