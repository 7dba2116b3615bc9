"""Every configuration file that the package ships fits the code."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cryo_disentangle import cli
from cryo_disentangle.simulation.command import main as simulate

CONFIGS = Path(__file__).resolve().parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_training_configuration(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit", "--config", str(path), "--print_config"])
    assert ended.value.code == 0
    parsed = yaml.safe_load(capsys.readouterr().out)
    assert parsed["model"]["class_path"].endswith("HeterogeneousReconstruction")
    assert parsed["trainer"]["default_root_dir"].startswith("runs/")


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("simulate/*.yaml")), ids=lambda path: path.stem
)
def test_simulation_configuration(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        simulate(["--config", str(path), "--out", "unused", "--print_config"])
    assert ended.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["n_images"] > 0
