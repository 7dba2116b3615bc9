"""Every configuration file that the package ships fits the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from cryo_disentangle import cli
from cryo_disentangle.simulation.command import main as simulate
from tests.callbacks import watched

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
    assert parsed["model"]["class_path"].startswith("cryo_disentangle.")
    assert parsed["trainer"]["default_root_dir"].startswith("runs/")


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.glob("simulate/*.yaml")), ids=lambda path: path.stem
)
def test_simulation_configuration(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        simulate(["--config", str(path), "--out", "unused", "--print_config"])
    assert ended.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["n_images"] > 0


@pytest.mark.parametrize(
    ("stack", "folder", "name"),
    [
        ("two_arm_in_plane", "in_plane_data", "two_arm_pose_vae"),
        ("pairs_in_plane", "pairs_data", "slow_vae"),
        ("temperature_in_plane", "kelvin_data", "temperature"),
    ],
)
@pytest.mark.filterwarnings(*watched.QUIET)
def test_a_simulated_stack_is_trained_on(
    stack: str, folder: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr("sys.argv", ["cryo-disentangle"])
    monkeypatch.chdir(tmp_path)
    out = f"runs/{folder}"
    simulate(["--config", str(CONFIGS / f"simulate/{stack}.yaml"), "--out", out, "--n_images=300"])
    words = ["--config", str(CONFIGS / f"{name}.yaml"), "--trainer.max_steps=10"]
    if name == "two_arm_pose_vae":
        words.append("--model.init_args.conformation_warmup=4")
    cli.main(["fit", *words, "--trainer.enable_progress_bar=false"])
    rows = json.loads((tmp_path / "runs" / name / "report/report.json").read_text())
    assert rows["held-out reconstruction"] > 0
    assert ("slowness, verdict" in rows) == (name == "slow_vae")
    assert ("temperature, verdict" in rows) == (name == "temperature")
