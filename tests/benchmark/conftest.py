"""A benchmark of three files for the tests: what runs is done in this process."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

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
