"""Finished runs are looked at, whatever is known of their particles."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from cryo_disentangle.evaluation import evaluate, open_run
from cryo_disentangle.evaluation.command import evaluate_command, report_command
from cryo_disentangle.evaluation.history import draw_history
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.pickles import read_poses
from cryo_disentangle.priors.standard_normal import kl_standard_normal
from tests import tiny
from tests.evaluation.conftest import COUNT
from tests.interop import runs


def command(*words: str | Path) -> None:
    evaluate_command([str(word) for word in words])


def look(run: FinishedRun, **options: Any) -> Any:
    return evaluate(run, batch_size=16, sample=60, resamples=0, **options)


def static(page: str) -> str:
    """A page without what is there only with the extra `pages`."""
    return re.sub(r"<script.*?</script>|<section class=.touch.*?</section>", "", page, flags=re.S)


@pytest.fixture(scope="module")
def written(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command writes of a run whose truth is known."""
    out = tmp_path_factory.mktemp("written")
    truth = finished / "data/truth.npz"
    words = ("--truth", truth, "--sample", "60", "--resamples", "4", "--device", "cpu")
    command(finished / "run", "--out", out, "--batch-size", "16", *words)
    return out


def test_all_groups_are_scored_with_intervals(written: Path) -> None:
    found = json.loads((written / "metrics.json").read_text())
    assert found["run"]["epoch"] == 2
    assert set(found["scores"]) == {
        "decoding",
        "pose_leak",
        "spread_leak",
        "rotation",
        "interventions",
        "redrawn_noise",
        "true_interventions",
        "true_redrawn_noise",
        "truth",
        "conformations",
        "disentanglement",
        "entanglement",
    }
    leak = found["scores"]["pose_leak"]["pose_leak_nonlinear_r2"]
    assert 0 <= leak["low"] <= leak["value"] <= leak["high"] <= 1
    assert "volume_consistency_normalized" in found["scores"]["interventions"]
    assert len(found["scores"]["disentanglement"]) == 15
    assert "an oracle needs noise" in found["not_measured"]["oracle"]
    for names in (found["coordinates"], found["components"]):
        assert all(len(values) == 2 for values in names.values())
    assert sum(found["components"]["pca_variance_share"]) == pytest.approx(1)
    assert "takes poses from the data" in found["not_measured"]["pose_encoder_consistency"]


def test_page_needs_nothing_else(written: Path) -> None:
    page = static((written / "report.html").read_text())
    names = {path.stem for path in written.glob("*.png")}
    assert names == {
        "leaks",
        "poses",
        "turning",
        "factors",
        "matching",
        "coordinates",
        "components",
        "reconstructions",
        "volumes",
        "history",
        "states",
        "state_views",
        "state_volumes",
        "scores",
    }
    assert page.count("data:image/png;base64,") == len(names)
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert "nan" not in re.sub(r"base64,[^\"]*", "", page)
    assert 'name="viewport"' in page
    assert "@media print" in page


def test_volumes_play_in_chimerax(written: Path) -> None:
    names = {path.name for path in (written / "volumes").iterdir()}
    steps = {f"pc{axis}_{step:02d}.mrc" for axis in (1, 2) for step in range(1, 8)}
    assert names == steps | {f"pc{axis}{end}" for axis in (1, 2) for end in (".cxc", "_values.txt")}
    assert f"chimerax {written / 'volumes/pc1.cxc'}" in (written / "report.html").read_text()


def test_report_takes_what_was_found(
    written: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(written, tmp_path / "found")
    before = static((tmp_path / "found/report.html").read_text())
    (tmp_path / "found/report.html").unlink()
    report_command([str(finished / "run"), "--out", str(tmp_path / "found")])
    assert capsys.readouterr().out == f"Report: {tmp_path / 'found/report.html'}\n"
    again = static((tmp_path / "found/report.html").read_text())
    body = [re.sub(r"<footer>.*|chimerax [^<]*", "", page) for page in (before, again)]
    assert body[0] == body[1]


def test_report_evaluates_first(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    monkeypatch.setattr("cryo_disentangle.evaluation.command.evaluate_command", asked.append)
    words = [str(finished / "run"), "--out", str(tmp_path)]
    report_command(words)
    older = {"folder": "x", "epoch": 1, "cryodrgn": False, "rendered": False}
    empty: dict[str, Any] = {"scores": {}, "identifiability": {}, "not_measured": {}}
    (tmp_path / "metrics.json").write_text(json.dumps({"run": older} | empty))
    report_command(words)
    assert asked == [words, words]
    now = {"run": older | {"epoch": open_run(finished / "run").epoch}} | empty
    (tmp_path / "metrics.json").write_text(json.dumps(now))
    report_command([*words, "--inference", "rendering"])
    assert asked[2:] == [[*words, "--inference", "rendering"]]


def test_report_of_damaged_metrics(finished: Path, tmp_path: Path) -> None:
    for text in ("{", "[]", '{"run": 1}', '{"run": {}, "scores": {}}'):
        (tmp_path / "metrics.json").write_text(text)
        with pytest.raises(ValueError, match=r"metrics\.json: .*expected"):
            report_command([str(finished / "run"), "--out", str(tmp_path)])


def test_history_of_cryodrgn(tmp_path: Path) -> None:
    line = "2026-01-01 10:00:00     # =====> Epoch: {} Average gen loss = 1.2, KLD = 3.4, total "
    log = "".join(line.format(epoch) + f"loss = {2 / epoch}; Finished\n" for epoch in (1, 2, 3))
    (tmp_path / "run.log").write_text(log)
    figure = draw_history(tmp_path)
    assert figure is not None
    (axes,) = figure.axes
    assert axes.lines[0].get_xydata() == pytest.approx(np.array([[1, 2], [2, 1], [3, 2 / 3]]))
    assert axes.get_xlabel() == "epochs"


def test_history_that_is_damaged(tmp_path: Path) -> None:
    assert draw_history(tmp_path) is None
    folder = tmp_path / "metrics/version_0"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,train/loss\n0,1.0\n1,much\n")
    with pytest.raises(ValueError, match=r"metrics\.csv, line 3: .* found '1' and 'much'"):
        draw_history(tmp_path)


def test_coordinates_are_described_as_the_formula_says(finished: Path) -> None:
    run = open_run(finished / "run")
    found = look(run)
    model: Any = run.module
    batches = list(run.data.predict_dataloader())
    with torch.no_grad():
        inferred = [model.infer(batch) for batch in batches]
    mean = torch.cat([part.mean for part in inferred])
    log_variance = torch.cat([part.log_variance for part in inferred])
    each = torch.stack(
        [
            kl_standard_normal(mean[:, k : k + 1], log_variance[:, k : k + 1]).mean()
            for k in range(2)
        ]
    )
    assert found.measured.coordinates["kl_nats"] == pytest.approx(each.tolist(), rel=1e-4)
    assert "not known" in found.measured.missing["disentanglement"]


def test_particles_without_poses(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    config = tmp_path / "run/config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["data"]["init_args"] |= {"poses": None, "ctf": None}
    config.write_text(yaml.safe_dump(settings))
    found = look(open_run(tmp_path / "run"))
    assert "no poses" in found.measured.missing["interventions"]
    assert "neither poses" in found.measured.missing["pose_leak"]
    assert "rotation_normalized" in found.measured.scores["rotation"]
    found.write(tmp_path / "written")
    page = static((tmp_path / "written/report.html").read_text())
    assert "<h2>What could not be measured</h2>" in page


def stored_run(folder: Path, mean: Any, log_variance: Any = None) -> FinishedRun:
    """A run that has nothing but stored conformations."""
    options: Any = tiny.write_stack(folder / "data", 400)
    rotation = read_poses(options["poses"])[0]
    data = ParticleData(**options)
    latents = InferredParticles.of(mean(rotation), log_variance)
    return FinishedRun(folder, "a test", 1, data, nn.Identity(), latents)


def test_stored_conformations_that_are_poses(tmp_path: Path) -> None:
    found = evaluate(stored_run(tmp_path, lambda rotation: rotation[:, 2, :2]), resamples=0)
    assert found.judgement.verdict == "viewing direction"
    assert found.measured.scores["pose_leak"]["pose_leak_linear_r2"].value > 0.9
    assert "kept in a table" in found.measured.missing["rotation"]
    assert "no posterior variances" in found.measured.missing["posterior_collapse"]


def test_stored_conformations_that_are_not(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).laplace(size=(400, 2))
    found = evaluate(stored_run(tmp_path, lambda _: drawn), resamples=0)
    assert found.judgement.verdict == "unknown"
    assert max(found.measured.components["ica_negentropy"]) > 0.01


def test_stored_conformations_of_other_particles(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="of 7 particles are stored, and there are 400"):
        evaluate(stored_run(tmp_path, lambda _: np.zeros((7, 2))))


def test_a_run_without_z_is_refused(tmp_path: Path) -> None:
    folder = runs.homogeneous_run(tmp_path)
    with pytest.raises(ValueError, match=r"a run without z, as train_nn .* no latent space"):
        open_run(folder)


def test_particles_that_have_moved(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    moved = shutil.copy(finished / "data/particles.mrcs", tmp_path / "moved.mrcs")
    config = tmp_path / "run/config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["data"]["init_args"]["particles"] = "nowhere.mrcs"
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(FileNotFoundError, match="nowhere"):
        look(open_run(tmp_path / "run"))
    run: Any = open_run(tmp_path / "run", files=DataFiles(particles=Path(moved)))
    assert len(run.data.stack) == COUNT


def test_epochs_count_from_one(finished: Path) -> None:
    assert open_run(finished / "run", 2).epoch == 2
    with pytest.raises(FileNotFoundError, match=r"no checkpoint after 5 epochs, .* after: 2"):
        open_run(finished / "run", 5)


def test_folders_that_hold_no_run(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        open_run(tmp_path / "none")
    with pytest.raises(ValueError, match=r"neither a run of .* nor one of cryoDRGN"):
        open_run(tmp_path)
    (tmp_path / "config.yaml").write_text("trainer: {}\n")
    with pytest.raises(FileNotFoundError, match=r"a checkpoint \(\*\.ckpt\) expected, found none"):
        open_run(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/last.ckpt").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="found no model and no data"):
        open_run(tmp_path)
    shutil.copy(finished / "run/config.yaml", tmp_path / "config.yaml")
    with pytest.raises(ValueError, match=r"last\.ckpt: refused as a checkpoint: it is damaged"):
        open_run(tmp_path)
    (tmp_path / "config.yaml").write_text("- no mapping\n")
    with pytest.raises(ValueError, match="a mapping expected, found list"):
        open_run(tmp_path)
    (tmp_path / "config.yaml").unlink()
    with pytest.raises(FileNotFoundError, match="without it the model is not known"):
        open_run(tmp_path)


def test_checkpoint_of_another_model(finished: Path, tmp_path: Path) -> None:
    shutil.copytree(finished / "run", tmp_path / "run")
    config = tmp_path / "run/config.yaml"
    settings = yaml.safe_load(config.read_text())
    settings["model"]["init_args"]["conformation_dim"] = 3
    config.write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match="model with other networks"):
        open_run(tmp_path / "run")


def test_truth_of_other_particles(finished: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "truth.npz", factors=np.zeros((7, 2), np.float32))
    run = open_run(finished / "run")
    with pytest.raises(ValueError, match=f"7 rows, expected one for each image: {COUNT}"):
        look(run, truth=tmp_path / "truth.npz")
    np.savez(tmp_path / "time.npz", time=np.zeros(COUNT, np.float32))
    with pytest.raises(ValueError, match="true factors expected, found none"):
        look(run, truth=tmp_path / "time.npz")


def test_numbers_out_of_range(finished: Path) -> None:
    with pytest.raises(ValueError, match="found 1, 4000 and 40"):
        evaluate(open_run(finished / "run"), batch_size=1)
    with pytest.raises(ValueError, match="cpu, cuda or auto expected, found 'abacus'"):
        command(finished / "run", "--device", "abacus")
