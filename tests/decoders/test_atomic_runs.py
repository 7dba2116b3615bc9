"""Whole runs with atoms: from YAML to moved structures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gemmi
import numpy as np
import pytest
import torch
import yaml

from cryo_disentangle import cli
from cryo_disentangle.files import read_volume
from cryo_disentangle.structures import write_structures
from cryo_disentangle.structures.atoms import Atoms
from tests import tiny

# Lightning's and jsonargparse's hints about workers and deprecated ways.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZE = tiny.BOX_SIZE * tiny.PIXEL_SIZE


@pytest.fixture
def structure(tmp_path: Path) -> Path:
    """Two residues where the stack has its blobs, in a map's coordinates, and a third far off."""
    position = np.array([[0, 0, 0], [0, 4, 0], [20, 20, 20]]) * tiny.PIXEL_SIZE + SIZE / 2
    atoms = Atoms(
        tmp_path / "blobs.pdb",
        position,
        np.full(3, 6),
        np.array(["A", "A", "B"]),
        np.array([1, 2, 3]),
        np.full(3, "CA"),
        np.full(3, "GLY"),
        np.full(3, " "),
        np.full(3, 6.0),
        np.full(3, 20.0),
    )
    write_structures(atoms.file, atoms, position[None])
    return atoms.file


def run(tmp_path: Path, structure: Path, motion: dict[str, Any]) -> Path:
    """Trains by the command line, in this process."""
    config = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data"), max_epochs=6)
    told = yaml.safe_load(config.read_text())
    told["trainer"]["enable_progress_bar"] = False
    told["trainer"]["callbacks"] = [
        {"class_path": "TraversalVolumes", "init_args": {"every_n_epochs": 6, "steps": 3}}
    ]
    options = told["model"]["init_args"]
    options["optimizer"]["init_args"]["lr"] = 1e-2
    options["decoder"] = {
        "class_path": "AtomicDecoder",
        "init_args": {
            "structure": str(structure),
            "selection": "A:",
            "centre": [SIZE / 2] * 3,
            "pixel_size": tiny.PIXEL_SIZE,
            "sigma_angstrom": 4.0,
            "motion": motion,
        },
    }
    config.write_text(yaml.safe_dump(told))
    cli.main(["fit", "--config", str(config)])
    return tmp_path / "run"


@pytest.mark.parametrize(
    "motion",
    [
        {"class_path": "RigidDomains", "init_args": {"domains": {"tip": "A:2"}, "hidden": 8}},
        {
            "class_path": "HingedDomains",
            "init_args": {
                "domains": {"tip": [1]},
                "hinges": {"tip": {"axis": [0, 0, 1], "point": [28, 28, 28], "angle_deg": 30}},
                "hidden": 8,
            },
        },
    ],
)
def test_a_run_learns_and_writes_structures(
    tmp_path: Path, structure: Path, motion: dict[str, Any]
) -> None:
    folder = run(tmp_path, structure, motion)
    losses = tiny.read_metrics(folder, "train/loss")
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    written = folder / "traversals/epoch_006"
    moved = gemmi.read_structure(str(written / "z1.cif"))
    assert len(moved) == 3
    assert [chain.name for chain in moved[0]] == ["A"]
    script = (written / "z1.cxc").read_text()
    assert "open z1.cif coordsets true" in script
    assert "coordset #2 1,3 loop 1000 bounce true" in script
    # Structures lie in the volumes: there is most density where the atoms are.
    volume, pixel_size = read_volume(written / "z1_02.mrc")
    assert pixel_size == pytest.approx(tiny.PIXEL_SIZE)
    where = np.array([cra.atom.pos.tolist() for cra in moved[1].all()])
    x, y, z = np.rint(where / tiny.PIXEL_SIZE).astype(int).T
    assert np.abs(volume[z, y, x]).min() > 5 * np.abs(volume).mean()


def test_a_checkpoint_brings_the_atoms_back(tmp_path: Path, structure: Path) -> None:
    motion = {"class_path": "HingedDomains", "init_args": {"domains": {"a": "2"}, "hidden": 4}}
    folder = run(tmp_path, structure, motion)
    state = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert state["decoder.reference"].shape == (2, 3)
    assert {"decoder.contrast", "decoder.motion.axis", "decoder.motion.point"} <= set(state)
