"""Whole benchmarks: resumed, changed, failed, and as a user runs them."""

from __future__ import annotations

import csv
import fcntl
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryo_disentangle import cli
from cryo_disentangle.benchmark import scoring
from cryo_disentangle.benchmark.cells import Stack
from cryo_disentangle.benchmark.executors import ArrayExecutor
from cryo_disentangle.benchmark.jobs import JobError, Launcher
from cryo_disentangle.particles.pickles import write_latents
from cryo_disentangle.simulation.command import main as simulate
from tests import tiny
from tests.benchmark.conftest import write

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmark"


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Simulates and scores in this process, and lets trainings fail; keeps what was run."""
    done: list[str] = []

    def run(_: Launcher, words: Sequence[str | Path], log: Path) -> None:
        module, *rest = map(str, words)
        if module.endswith("score_cell"):
            done.append(f"score {'/'.join(Path(rest[0]).parts[-3:])}")
            scoring.score_cell(Path(rest[0]))
        elif rest[0] == "simulate":
            done.append("simulate")
            simulate(rest[1:])
        else:
            log.write_text("the end of the log\n")
            raise JobError(f"fit ended with 1; {log} ends with\nthe end of the log")

    monkeypatch.setattr(Launcher, "run", run)
    return done


def latents_of_truth(settings: dict[str, Any], folder: Path) -> None:
    """A method that knows the truth, as a folder of files."""
    settings["methods"] = {
        "truth": {"kind": "latents", "folder": "others/truth"},
        "PCA": {"kind": "pca", "of": "truth"},
        "ICA": {"kind": "ica", "of": "truth"},
    }
    file = write(folder, settings)
    cli.main(["benchmark", "--config", str(file), "--out", str(folder / "out"), "--data-only"])
    truth = np.load(folder / "out/data/arms/seed_0/truth.npz")["factors"]
    place = folder / "others/truth/arms/seed_0"
    place.mkdir(parents=True)
    write_latents(place / "z.pkl", truth, np.full_like(truth, -2.0))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folder_of_latents_is_a_method(
    settings: dict[str, Any], tmp_path: Path, launched: list[str]
) -> None:
    latents_of_truth(settings, tmp_path)
    assert launched == ["simulate"]
    out = tmp_path / "out"
    words = ["benchmark", "--config", str(tmp_path / "benchmark.yaml"), "--out", str(out)]
    cli.main([*words, "--processes", "1"])
    cells = [f"score {method}/arms/seed_0" for method in ("truth", "PCA", "ICA")]
    assert launched == ["simulate", *cells]
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["method", "dataset", "seed", "metric", "value"]
    found = {(row["method"], row["metric"]): float(row["value"]) for row in rows}
    assert found["truth", "disentanglement/mcc_pearson"] == pytest.approx(1)
    assert found["truth", "conformations/coordinates_in_use"] == 2
    best = found["truth", "oracle/mcc_pearson"]
    assert 0.5 < best < 1
    assert found["truth", "oracle_share/mcc_pearson"] == pytest.approx(1 / best)
    assert found["ICA", "oracle/r2_linear"] == found["truth", "oracle/r2_linear"]
    assert f"has MCC {best:.3g}" in (out / "summary.md").read_text()
    assert found["PCA", "disentanglement/r2_linear"] == pytest.approx(1, abs=1e-3)
    assert ("truth", "rotation/rotation_normalized") not in found
    assert np.load(out / "cells/PCA/arms/seed_0/z.npz")["z"].shape == (160, 2)
    cli.main(words)
    assert len(launched) == 4
    with pytest.raises(SystemExit, match=r"3 finished before with other settings.*--rerun"):
        cli.main([*words, "--set", "held_out=60"])
    cli.main([*words, "--set", "held_out=60", "--rerun", "--processes", "1"])
    assert launched[4:] == cells
    assert "the last 60 particles" in (out / "leaderboard.html").read_text()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_part_is_run_and_all_that_is_finished_is_told(
    settings: dict[str, Any], tmp_path: Path, launched: list[str]
) -> None:
    settings["datasets"]["others"] = settings["datasets"]["arms"]
    settings["methods"] |= {
        "truth": {"kind": "latents", "folder": "others/truth", "on": ["arms"]},
        "ICA": {"kind": "ica", "of": "truth"},
    }
    out = tmp_path / "out"
    words = ["benchmark", "--config", str(write(tmp_path, settings)), "--out", str(out)]
    cli.main([*words, "--data-only", "--datasets", "arms"])
    assert launched == ["simulate"]
    truth = np.load(out / "data/arms/seed_0/truth.npz")["factors"]
    place = tmp_path / "others/truth/arms/seed_0"
    place.mkdir(parents=True)
    write_latents(place / "z.pkl", truth)
    cli.main([*words, "--methods", "ICA", "--processes", "1"])
    assert launched[1:] == ["score truth/arms/seed_0", "score ICA/arms/seed_0"]
    cli.main([*words, "--methods", "truth", "--datasets", "arms", "others"])
    assert len(launched) == 3
    summary = (out / "summary.md").read_text()
    assert "2 of 6 finished" in summary
    assert "## others\n\nNothing is finished." in summary


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_folder_of_cryodrgn_is_a_method(
    settings: dict[str, Any], tmp_path: Path, launched: list[str]
) -> None:
    settings["methods"] = {"theirs": {"kind": "cryodrgn", "folder": "theirs"}}
    out, place = tmp_path / "out", tmp_path / "theirs/arms/seed_0"
    words = ["benchmark", "--config", str(write(tmp_path, settings)), "--out", str(out)]
    cli.main([*words, "--data-only"])
    stack = out / "data/arms/seed_0"
    data = {"particles": str(stack / "particles.mrcs"), "poses": str(stack / "poses.pkl")}
    config = tiny.write_config(tmp_path, data | {"batch_size": 10})
    tiny.call("fit", "--config", config, "--trainer.max_epochs", "1")
    with pytest.raises(SystemExit, match=r"seed_0: no such folder; theirs needs one"):
        cli.main(words)
    place.mkdir(parents=True)
    with pytest.raises(SystemExit, match="a run of cryoDRGN expected, found no weights"):
        cli.main(words)
    cli.main(["export", str(tmp_path / "run"), "--out", str(place)])
    cli.main([*words, "--processes", "1"])
    assert launched == ["simulate", "score theirs/arms/seed_0"]
    scored = {row["metric"] for row in csv.DictReader((out / "results.csv").open())}
    assert {"disentanglement/mcc_pearson", "rotation/rotation_normalized"} <= scored


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_failed_cell_is_told_and_not_fatal(
    settings: dict[str, Any],
    tmp_path: Path,
    launched: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    latents_of_truth(settings, tmp_path)
    settings["methods"] |= {"vanilla": {}, "of_vanilla": {"kind": "pca", "of": "vanilla"}}
    words = ["--config", str(write(tmp_path, settings)), "--out", str(tmp_path / "out")]
    for _ in range(2):
        with pytest.raises(SystemExit, match=r"2 of 5 failed \(vanilla on arms, seed 0, of_van"):
            cli.main(["benchmark", *words, "--processes", "1"])
    said = capsys.readouterr().err
    assert "FAILED vanilla on arms, seed 0: fit ended with 1" in said
    assert "the end of the log" in said
    assert sum(name.startswith("score") for name in launched) == 3
    summary = (tmp_path / "out/summary.md").read_text()
    assert "3 of 5 finished" in summary
    assert "of_vanilla on arms, seed 0: vanilla on arms, seed 0 failed" in summary


def test_two_processes_never_share_a_folder(
    settings: dict[str, Any], tmp_path: Path, launched: list[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with (out / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(SystemExit, match="another process runs a benchmark here"):
            cli.main(["benchmark", "--config", str(write(tmp_path, settings)), "--out", str(out)])
    assert not launched


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--processes", "0"], "must be above 0"),
        (["--slurm", "timeout_min"], "--slurm: KEY=VALUE expected, found 'timeout_min'"),
        (["--datasets", "legs"], "--datasets: the benchmark has arms, found 'legs'"),
        (["--data-only", "--datasets", "legs"], "the benchmark has arms, found 'legs'"),
        (["--methods", "PCA", "cca"], "--methods: the benchmark has vanilla, PCA, found 'cca'"),
        (["--config", "absent.yaml"], r"absent\.yaml: no such file"),
    ],
)
def test_wrong_options_are_told(
    words: list[str], match: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    file = write(tmp_path, settings)
    with pytest.raises(SystemExit, match=match):
        cli.main(["benchmark", "--config", str(file), "--out", str(tmp_path / "out"), *words])


def test_slurm_needs_submitit_and_sbatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match="--slurm needs submitit, which is not installed: pip"):
        ArrayExecutor(tmp_path, 1, {})
    monkeypatch.setitem(sys.modules, "submitit", pytest)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="no sbatch"):
        ArrayExecutor(tmp_path, 1, {})


def test_jobs_run_as_an_array_of_submitit(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with pytest.raises(ValueError, match=r"--slurm: .*no_such_option"):
        ArrayExecutor(tmp_path / "slurm", 1, {"no_such_option": 1}, "local")
    executor = ArrayExecutor(tmp_path / "slurm", 1, {"timeout_min": 5}, "local")
    broken = Stack("arms", 1, tmp_path / "out", {"n_images": 3})
    ((job, reason),) = executor.run([broken])
    assert job == broken
    assert "simulate" in str(reason)
    assert f"{broken.log} ends with" in str(reason)


def test_the_small_benchmark_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    changes = {
        "seeds": "[0]",
        "held_out": "100",
        "defaults.simulate.n_images": "300",
        "defaults.trainer.max_steps": "10",
        "methods": "{SlowVAE: {restarts: 1}}",
    }
    words = [word for key, text in changes.items() for word in ("--set", f"{key}={text}")]
    out = tmp_path / "out"
    cli.main(["benchmark", "--config", str(CONFIGS / "small.yaml"), "--out", str(out), *words])
    result = json.loads((out / "cells/SlowVAE/pairs/seed_0/result.json").read_text())
    assert result["metrics"]["training/seconds"] > 0
    assert result["metrics"]["training/reconstruction"] > 0
    assert result["metrics"]["true_interventions/conformation_pose_invariance_normalized"] >= 0
    assert np.load(out / "cells/SlowVAE/pairs/seed_0/training.npy").tolist() == list(range(200))
    assert "1 of 1 finished" in (out / "summary.md").read_text()
    assert "Training and scoring" in capfd.readouterr().err
