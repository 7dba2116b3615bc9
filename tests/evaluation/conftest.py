"""A finished run on simulated particles, for the tests of evaluation and export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cryo_disentangle.simulation import (
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
)
from tests import tiny

COUNT = 80


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the simulated ``data`` and the finished ``run``, by a process of its own."""
    folder = tmp_path_factory.mktemp("finished")
    size: Any = {"box_size": tiny.BOX_SIZE, "pixel_size": tiny.PIXEL_SIZE}
    molecule = TwoArms((12.0, 9.0), body_radii=(5.0, 4.0, 3.0), sigma_angstrom=3.0)
    simulation = Simulation(molecule, UniformFactors(2), Microscope(UniformViews()), COUNT, **size)
    simulation.write(folder / "data")
    files = {"particles": "particles.mrcs", "poses": "poses.pkl", "ctf": "ctf.pkl"}
    data = {name: str(folder / "data" / file) for name, file in files.items()}
    there = {name: path for name, path in data.items() if Path(path).is_file()}
    config = tiny.write_config(folder, there | {"batch_size": 10, "validation_fraction": 0.2})
    tiny.call("fit", "--config", config, "--trainer.max_epochs", "2")
    return folder
