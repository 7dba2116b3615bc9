"""The report at the end of a run, through a tiny run."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch

from cryo_disentangle.callbacks import RunReport
from cryo_disentangle.callbacks.run_particles import true_factors
from cryo_disentangle.decoders import ImplicitDecoder
from cryo_disentangle.encoders import MLPEncoder
from cryo_disentangle.files import write_volume
from cryo_disentangle.modules import HeterogeneousReconstruction
from cryo_disentangle.particles import ParticleData
from cryo_disentangle.particles.pickles import write_indices
from tests import tiny
from tests.callbacks import foreign, watched

pytestmark = [pytest.mark.filterwarnings(quiet) for quiet in watched.QUIET]

_PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_NTASKS", "SLURM_JOB_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def data(tmp_path: Path) -> ParticleData:
    return ParticleData(**tiny.write_stack(tmp_path / "data"))


def fit(
    folder: Path, data: ParticleData, report: RunReport, **trainer: Any
) -> HeterogeneousReconstruction:
    torch.manual_seed(0)
    model = HeterogeneousReconstruction(
        tiny.BOX_SIZE,
        2,
        partial(MLPEncoder, width=16, layers=1),
        partial(ImplicitDecoder, width=16, layers=1),
        pixel_size=tiny.PIXEL_SIZE,
    )
    settings: dict[str, Any] = {"max_epochs": 2, "accelerator": "cpu", "devices": 1} | trainer
    L.Trainer(
        default_root_dir=folder,
        callbacks=[report],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **settings,
    ).fit(model, datamodule=data)
    return model


def assert_is_a_picture(path: Path) -> None:
    raw = path.read_bytes()
    assert raw.startswith(_PNG)
    width, height = (int.from_bytes(raw[i : i + 4], "big") for i in (16, 20))
    assert 200 < width < 4000
    assert 100 < height < 4000
    assert len(raw) > 2000


@pytest.mark.usefixtures("whole_pictures")
def test_report_of_a_run_with_truth_and_reference(
    tmp_path: Path, data: ParticleData, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "truth.npz", factors=np.random.default_rng(0).uniform(-1, 1, (60, 2)))
    volume = np.random.default_rng(1).standard_normal((tiny.BOX_SIZE,) * 3)
    write_volume(tmp_path / "true.mrc", volume, tiny.PIXEL_SIZE)
    report = RunReport(tmp_path / "true.mrc", tmp_path / "truth.npz")
    model = fit(tmp_path, data, report)
    assert model.training
    curve = report.state_dict()
    assert [point[0] for point in curve["curve"]] == [5, 10]
    resumed = RunReport()
    resumed.load_state_dict(curve)
    assert resumed.state_dict() == curve

    folder = tmp_path / "report"
    rows = json.loads((folder / "report.json").read_text())
    assert set(rows) == {
        "held-out reconstruction",
        "held-out kl",
        "latent coordinates in use",
        "R² of z from the pose (linear)",
        "R² of z from the pose (nonlinear)",
        "share of z due to noise in images",
        "R² of true factors from z (linear)",
        "verdict",
        "FSC with the reference, mean up to Nyquist / 2",
        "resolution at FSC 0.5 (Å)",
    }
    assert rows.pop("verdict").startswith(("z ", "It is not known"))
    assert all(np.isfinite(list(rows.values())))
    assert 0 <= rows["latent coordinates in use"] <= 2
    assert abs(rows["FSC with the reference, mean up to Nyquist / 2"]) <= 1
    assert rows["resolution at FSC 0.5 (Å)"] <= tiny.BOX_SIZE * tiny.PIXEL_SIZE
    names = {"learning_curve", "latents", "volumes", "reconstructions", "fsc"}
    assert {path.stem for path in folder.glob("*.png")} == names
    for path in folder.glob("*.png"):
        assert_is_a_picture(path)
    assert {path.suffix for path in folder.iterdir()} == {".png", ".json"}
    printed = capsys.readouterr().out
    assert "R² of true factors" in printed
    assert str(folder) in printed.replace("\n", "")


def test_report_of_a_run_of_which_nothing_is_known(tmp_path: Path, data: ParticleData) -> None:
    fit(tmp_path, data, RunReport())
    rows = json.loads((tmp_path / "report/report.json").read_text())
    assert "R² of z from the pose (linear)" in rows
    assert not [name for name in rows if "FSC" in name or "true" in name]
    assert not (tmp_path / "report/fsc.png").exists()


def test_the_truth_is_of_the_whole_file(tmp_path: Path, data: ParticleData) -> None:
    factors = np.random.default_rng(0).uniform(-1, 1, (60, 2)).astype(np.float32)
    np.savez(tmp_path / "truth.npz", factors=factors)
    chosen = np.array([50, 3, 7])
    write_indices(tmp_path / "ind.pkl", chosen)
    some = ParticleData(data.particles, indices=tmp_path / "ind.pkl")
    trainer: Any = SimpleNamespace(datamodule=some)
    assert np.array_equal(true_factors(trainer, tmp_path / "truth.npz").numpy(), factors[chosen])
    np.savez(tmp_path / "truth.npz", factors=factors[:5])
    with pytest.raises(ValueError, match=r"truth\.npz: 5 rows, expected .* 3 \(selected\) or 60"):
        fit(tmp_path, some, RunReport(truth=tmp_path / "truth.npz"))


def test_a_trial_run_writes_no_report(tmp_path: Path, data: ParticleData) -> None:
    fit(tmp_path, data, RunReport(), fast_dev_run=True)
    assert not (tmp_path / "report").exists()


def test_a_foreign_module_is_refused() -> None:
    with pytest.raises(TypeError, match=r"LightningModule has no infer\(batch\): give infer"):
        RunReport().setup(L.Trainer(logger=False), L.LightningModule(), "fit")


@pytest.mark.parametrize("name", ["reference_volume", "truth"])
def test_missing_files_are_told_before_the_run(
    tmp_path: Path, data: ParticleData, name: str
) -> None:
    paths: dict[str, Any] = {name: tmp_path / "absent"}
    with pytest.raises(FileNotFoundError, match=r"RunReport: no such file: .*absent"):
        fit(tmp_path, data, RunReport(**paths))


def test_a_reference_of_another_size_is_refused(tmp_path: Path, data: ParticleData) -> None:
    write_volume(tmp_path / "true.mrc", np.ones((8, 8, 8)), 1.0)
    with pytest.raises(ValueError, match=r"true\.mrc: a volume of shape \(16, 16, 16\) expected"):
        fit(tmp_path, data, RunReport(tmp_path / "true.mrc"), max_epochs=1)


def test_too_few_particles_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 100 particles, found 99"):
        RunReport(particles=99)


def test_a_report_of_ones_own_module(tmp_path: Path) -> None:
    functions: Any = {"infer": foreign.infer, "as_batch": foreign.as_batch}
    report = RunReport(generate=foreign.generate, **functions)
    loader = foreign.loader(24)
    watched.make_trainer(tmp_path / "a", report).fit(foreign.ConvolutionalVAE(), loader)
    names = {path.name for path in (tmp_path / "a/report").iterdir()}
    assert names == {"latents.png", "learning_curve.png", "reconstructions.png", "report.json"}
    watched.make_trainer(tmp_path / "b", RunReport(**functions)).fit(
        foreign.ConvolutionalVAE(), loader
    )
    assert "verdict" in json.loads((tmp_path / "b/report/report.json").read_text())
    assert not (tmp_path / "b/report/reconstructions.png").exists()


def test_few_particles_have_a_report_and_no_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ParticleData(**tiny.write_stack(tmp_path / "data", count=5))
    fit(tmp_path, data, RunReport(), max_epochs=1)
    rows = json.loads((tmp_path / "report/report.json").read_text())
    assert rows["verdict"] == "1 held-out particles are too few for a verdict."
    assert "too few" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:no picture latents.png:UserWarning")
def test_a_picture_that_fails_ends_no_run_and_a_share_below_nothing_is_none(
    tmp_path: Path,
    data: ParticleData,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no colour")

    monkeypatch.setattr("cryo_disentangle.callbacks.run_report.draw_latents", fail)
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "truth.npz", factors=rng.uniform(-1, 1, (60, 1)))
    with pytest.warns(UserWarning, match=r"no picture latents\.png: no colour"):
        fit(tmp_path, data, RunReport(truth=tmp_path / "truth.npz"), max_epochs=1)
    rows = json.loads((tmp_path / "report/report.json").read_text())
    assert min(value for name, value in rows.items() if "R²" in name) == 0
    assert "none" in capsys.readouterr().out
