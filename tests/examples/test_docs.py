"""The code of docs/callbacks.md runs, on tiny data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader, TensorDataset

from cryo_disentangle.callbacks import PoseInterventionPenalty
from cryo_disentangle.geometry import in_plane_rotation
from cryo_disentangle.simulation import (
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
)
from tests import tiny

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "callbacks.md").read_text()

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*GPU available but not used:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*treespec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*number of training batches.*:UserWarning"),
]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A user's module and loader."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.chdir(tmp_path)
    users_vae: Any = __import__("users_vae")
    torch.manual_seed(0)
    images = torch.randn(40, 1, users_vae.SIDE, users_vae.SIDE)
    rotation = in_plane_rotation(torch.linspace(0, 6, 40))
    loader = DataLoader(TensorDataset(images, rotation), batch_size=20)
    return {"module": users_vae.ConvolutionalVAE(width=2), "loader": loader}


def test_every_block_is_tested() -> None:
    assert (PAGE.count("```"), len(blocks("python")), len(blocks("yaml"))) == (8, 2, 2)


def test_python(users: dict[str, Any]) -> None:
    for block in blocks("python"):
        exec(compile(block, "callbacks.md", "exec"), users)
    assert isinstance(users["penalty"], PoseInterventionPenalty)
    assert users["terms"].loss.isfinite()


def test_callbacks_of_a_users_module(users: dict[str, Any]) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callbacks", type=list[Callback])
    indented = blocks("yaml")[0].replace("\n", "\n  ").rstrip()
    config = parser.parse_string(f"callbacks:\n  {indented}\n")
    callbacks = parser.instantiate(config).callbacks
    assert [type(callback) for callback in callbacks] == [PoseInterventionPenalty]
    L.Trainer(accelerator="cpu", fast_dev_run=2, callbacks=callbacks).fit(*users.values())


def test_our_own_models(tmp_path: Path) -> None:
    held_out = tmp_path / "held_out"
    size: Any = {"box_size": tiny.BOX_SIZE, "pixel_size": tiny.PIXEL_SIZE}
    molecule = TwoArms((12.0, 9.0), body_radii=(5.0, 4.0, 3.0), sigma_angstrom=3.0)
    Simulation(molecule, UniformFactors(2), Microscope(UniformViews()), 60, **size).write(held_out)
    run = tiny.write_config(tmp_path, tiny.write_stack(tmp_path / "data"), max_epochs=1)
    page = tmp_path / "page.yaml"
    page.write_text(blocks("yaml")[1].replace("runs/held_out", str(held_out)))
    tiny.succeed("fit", "--config", run, "--config", page)
    written = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*.*")}
    assert {
        "metrics/disentanglement.csv",
        "metrics/pose_conformation.json",
        "figures/epoch_001_poses.png",
        "traversals/epoch_001/z1_01.mrc",
        "traversals/epoch_001/z1.cxc",
        "cryodrgn/weights.1.pkl",
        "cryodrgn/z.1.pkl",
    } <= written
