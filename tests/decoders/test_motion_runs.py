"""Normal modes and free displacements in whole runs, from YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle import cli
from cryo_disentangle.files import write_volume
from tests import tiny

# Lightning's and jsonargparse's hints about workers and deprecated ways.
pytestmark = pytest.mark.filterwarnings("ignore")


def _consensus() -> torch.Tensor:
    """The two blobs of the tiny stack, the moving one in the middle of its way, joined."""
    axis = torch.arange(tiny.BOX_SIZE) - tiny.BOX_SIZE / 2
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    return sum(
        (torch.exp(-(x**2 + (y - at) ** 2 + z**2) / 2) for at in (0, 2, 4)),
        start=torch.zeros_like(x),
    )


def _run(folder: Path, motion: dict[str, Any], penalties: dict[str, Any]) -> Path:
    config = tiny.write_config(folder, tiny.write_stack(folder / "data"), max_epochs=8)
    told = yaml.safe_load(config.read_text())
    told["trainer"]["enable_progress_bar"] = False
    options = told["model"]["init_args"]
    options["optimizer"]["init_args"]["lr"] = 1e-2
    options["penalties"] = penalties
    options["decoder"] = {
        "class_path": "AtomicDecoder",
        "init_args": {
            "structure": {
                "class_path": "cryo_disentangle.structures.read_pseudo_atoms",
                "init_args": {"file": str(folder / "consensus.mrc"), "count": 12, "steps": 30},
            },
            "centre": [0, 0, 0],
            "pixel_size": tiny.PIXEL_SIZE,
            "sigma_angstrom": None,
            "motion": motion,
        },
    }
    config.write_text(yaml.safe_dump(told))
    cli.main(["fit", "--config", str(config)])
    return folder / "run"


@pytest.mark.parametrize(
    ("motion", "penalties"),
    [
        ({"class_path": "NormalModes", "init_args": {"amplitude": 4.0}}, {}),
        ({"class_path": "NormalModes", "init_args": {"modes": 6, "hidden": 8}}, {}),
        (
            {"class_path": "FreeDisplacement", "init_args": {"rank": 8, "hidden": 16}},
            {
                "bonds": {"class_path": "BondLengths", "init_args": {"weight": 1e-3}},
                "smooth": {"class_path": "Smoothness", "init_args": {"cutoff": 12.0}},
            },
        ),
    ],
)
def test_a_run_from_a_map_learns(
    tmp_path: Path, motion: dict[str, Any], penalties: dict[str, Any]
) -> None:
    write_volume(tmp_path / "consensus.mrc", _consensus().numpy(), tiny.PIXEL_SIZE)
    folder = _run(tmp_path, motion, penalties)
    losses = tiny.read_metrics(folder, "train/reconstruction")
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    for name in penalties:
        assert all(value >= 0 for value in tiny.read_metrics(folder, f"train/{name}/rms"))
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert any(key.startswith("decoder.motion.amplitudes") for key in state)


def test_a_penalty_on_a_decoder_without_atoms_names_it(tmp_path: Path) -> None:
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data"), max_epochs=1)
    told = yaml.safe_load(config.read_text())
    told["model"]["init_args"]["penalties"] = {"bonds": {"class_path": "BondLengths"}}
    config.write_text(yaml.safe_dump(told))
    with pytest.raises(SystemExit, match="HeterogeneousReconstruction with ImplicitDecoder"):
        cli.main(["fit", "--config", str(config)])
