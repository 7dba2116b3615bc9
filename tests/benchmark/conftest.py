"""A benchmark of three files for the tests: what runs is done in this process."""

from __future__ import annotations

import pickle
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle.files.maps import write_volume
from tests import tiny

SIMULATE: dict[str, Any] = {
    "molecule": {
        "class_path": "cryo_disentangle.simulation.TwoArms",
        "init_args": {
            "lengths": [12.0, 9.0],
            "body_radii": [5.0, 4.0, 3.0],
            "sigma_angstrom": 3.0,
        },
    },
    "process": {"class_path": "cryo_disentangle.simulation.UniformFactors"},
    "microscope": {
        "class_path": "cryo_disentangle.simulation.Microscope",
        "init_args": {
            "views": {"class_path": "cryo_disentangle.simulation.InPlaneViews"},
            "noise": {
                "class_path": "cryo_disentangle.simulation.WhiteNoise",
                "init_args": {"snr": 10.0},
            },
        },
    },
    "n_images": 160,
    "box_size": tiny.BOX_SIZE,
    "pixel_size": tiny.PIXEL_SIZE,
}
MODEL: dict[str, Any] = {
    "class_path": "HeterogeneousReconstruction",
    "init_args": {
        "conformation_dim": 2,
        "encoder": {"class_path": "MLPEncoder", "init_args": {"width": 16, "layers": 1}},
        "decoder": {"class_path": "BasisDecoder"},
    },
}


@pytest.fixture
def settings() -> dict[str, Any]:
    """A benchmark of one data set, a trained method and a reading of it."""
    made = {
        "seeds": [0],
        "held_out": 100,
        "defaults": {
            "trainer": {"accelerator": "cpu", "max_steps": 4},
            "model": MODEL,
            "data": {"class_path": "ParticleData", "init_args": {"batch_size": 10}},
        },
        "datasets": {"arms": {"simulate": SIMULATE}},
        "methods": {"vanilla": {}, "PCA": {"kind": "pca", "of": "vanilla"}},
    }
    return deepcopy(made)


def write(folder: Path, settings: dict[str, Any]) -> Path:
    """Writes the YAML of a benchmark."""
    path = folder / "benchmark.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


SIDE, STATES = 8, 11


def volumes() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(STATES, SIDE, SIDE, SIDE)).astype(np.float32)


@pytest.fixture
def cryobench(tmp_path: Path) -> Path:
    folder = tmp_path / "IgG-1D"
    (folder / "vols/128_org").mkdir(parents=True)
    for number, volume in enumerate(volumes()):
        # As theirs, without zeros before: 10 comes after 9.
        write_volume(folder / f"vols/128_org/{number}.mrc", volume, 3.0)
    labels = np.repeat(np.arange(STATES), 2)
    (folder / "gt_latents.pkl").write_bytes(pickle.dumps(labels))
    return folder


@pytest.fixture
def flatiron(tmp_path: Path) -> Path:
    folder = tmp_path / "dataset_2_ground_truth"
    folder.mkdir()
    torch.save(torch.from_numpy(volumes()).reshape(STATES, -1), folder / "maps_gt_flat.pt")
    rows = [f"{state},{state + 1},{0.1 * state}" for state in range(STATES)]
    (folder / "metadata.csv").write_text("\n".join([",populations,pc1", *rows]) + "\n")
    return folder
