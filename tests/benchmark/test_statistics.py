"""Methods that share the statistics of a stack, from one pass to a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cryo_disentangle import cli
from cryo_disentangle.benchmark import scoring
from cryo_disentangle.benchmark.cells import TRAINING
from cryo_disentangle.benchmark.jobs import JobError, Launcher
from cryo_disentangle.benchmark.latents import read_along_axes
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.metrics.functional import mcc
from cryo_disentangle.particles.labels import ParticleLabels
from cryo_disentangle.statistics import StatisticsFolder
from tests.benchmark.conftest import write

MODEL: dict[str, Any] = {
    "class_path": "SubspaceReconstruction",
    "init_args": {
        "conformation_dim": 2,
        "encoder": {"class_path": "StatisticsEncoder", "init_args": {"width": 16, "layers": 1}},
        "hidden": 8,
        "layers": 1,
    },
}


@pytest.fixture
def shared(settings: dict[str, Any], tmp_path: Path) -> Path:
    """A benchmark on statistics of frames of trajectories."""
    simulate = settings["datasets"]["arms"]["simulate"]
    simulate["process"] = {
        "class_path": "cryo_disentangle.simulation.LaplaceWalk",
        "init_args": {"dim": 2, "scale": 0.3, "frames": 10},
    }
    simulate["microscope"]["init_args"]["views"]["class_path"] = (
        "cryo_disentangle.simulation.UniformViews"
    )
    simulate["n_images"] = 600
    settings["held_out"] = 200
    settings["datasets"]["arms"]["statistics"] = {"rank": 3}
    settings["defaults"] = {
        "trainer": {"accelerator": "cpu", "max_steps": 200},
        "model": MODEL,
        "data": {"class_path": "StatisticsData", "init_args": {"batch_size": 100}},
    }
    settings["methods"] = {
        "VAE": {},
        "linear": {"kind": "subspace"},
        "VAE+axes": {"kind": "axes", "of": "VAE"},
        "linear+ICA": {"kind": "ica", "of": "linear"},
    }
    return write(tmp_path, settings)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs all in this process, and keeps what was run."""
    done: list[str] = []

    def run(_: Launcher, words: Sequence[str | Path], log: Path) -> None:
        module, *rest = map(str, words)
        if module.endswith("score_cell"):
            done.append(f"score {Path(rest[0]).parts[-3]}")
            scoring.score_cell(Path(rest[0]))
        elif rest[0] in done and rest[0] == "statistics":
            raise JobError(f"statistics ended with 1; {log} ends with\nthe end of the log")
        else:
            done.append(rest[0])
            cli.main(rest)

    monkeypatch.setattr(Launcher, "run", run)
    return done


@pytest.mark.filterwarnings("ignore")  # Lightning's, which users see too
def test_methods_share_one_pass(shared: Path, tmp_path: Path, launched: list[str]) -> None:
    out = tmp_path / "out"
    words = ["benchmark", "--config", str(shared), "--out", str(out), "--processes", "1"]
    cli.main(words)
    assert launched[:4] == ["simulate", "statistics", "fit", "score VAE"]
    assert launched[4:] == ["score linear", "score VAE+axes", "score linear+ICA"]
    statistics = StatisticsFolder.open(out / "data/arms/seed_0_statistics")
    assert len(StatisticsFolder.open(statistics.path / TRAINING)) == len(statistics) - 200
    found = {
        path.parts[-4]: json.loads(path.read_text())
        for path in (out / "cells").rglob("result.json")
    }
    for method, result in found.items():
        metrics = result["metrics"]
        assert 0 < metrics["disentanglement/mcc_pearson"] <= 1, method
        assert 0 <= metrics["neighbourhoods/similarity"] <= 1, method
        assert metrics["subspace_oracle/r2_linear"] == pytest.approx(
            found["VAE"]["metrics"]["subspace_oracle/r2_linear"]
        )
    for method in ("VAE", "linear"):
        metrics = found[method]["metrics"]
        assert 0 < metrics["volumes/fsc_area"] < 0.5
        assert metrics["volumes/populations"] > 0
        assert "true_interventions/conformation_pose_invariance_normalized" in metrics
    assert "volumes/fsc_area" not in found["VAE+axes"]["metrics"]
    assert np.load(out / "cells/VAE/arms/seed_0/z.npz")["covariance"].shape == (600, 2, 2)
    assert (out / "cells/VAE+axes/arms/seed_0/axes/axes.txt").is_file()
    summary = (out / "summary.md").read_text()
    assert "| oracle, true molecule | 1 |" in summary
    assert "| oracle, within the subspace | 1 |" in summary
    cli.main(words)
    assert len(launched) == 7
    changed = [*words, "--set", "datasets.arms.statistics.rank=2", "--rerun"]
    with pytest.raises(SystemExit, match="failed"):
        cli.main(changed)
    summary = (out / "summary.md").read_text()
    assert "statistics of arms, seed 0: the end of the log" in summary
    assert "VAE on arms, seed 0: statistics of arms, seed 0 failed" in summary


def test_axes_need_no_more_than_latents_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    steps = rng.laplace(size=(200, 10, 2)).cumsum(1).reshape(-1, 2)
    turned = steps @ np.array([[0.8, -0.6], [0.6, 0.8]])
    labels = ParticleLabels(
        time=np.tile(np.arange(10, dtype=np.float32), 200),
        trajectory=np.repeat(np.arange(200), 10),
    )
    found = read_along_axes(InferredParticles.of(turned), labels, 1500, tmp_path)
    assert float(mcc(found.mean, torch.from_numpy(steps))) > 0.99
    nothing = InferredParticles.of(np.zeros((2000, 2)))
    assert read_along_axes(nothing, labels, 1500, tmp_path).mean.equal(nothing.mean)
