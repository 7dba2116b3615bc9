"""Latents of any program are judged, joined with their particles and never by count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import starfile
from scipy.spatial.transform import Rotation

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.command import evaluate_command, report_command
from cryo_disentangle.evaluation.embedded import evaluate_embedding
from cryo_disentangle.evaluation.joined import join_latents
from cryo_disentangle.evaluation.runs import DataFiles
from tests.embeddings import written
from tests.embeddings.written import COUNT, WRITERS, truth

TRUTH = truth()
POSED = {"cryodrgn", "drgnai", "opus", "cryosparc", "multi_body", "hetsiren", "zernike"}
IMAGED = {"rotation test", "pose interventions", "redrawn noise", "decoding"}


def table(order: npt.NDArray[Any] | None = None, micrographs: int = 4) -> dict[str, Any]:
    """RELION's tables of the particles, in another order."""
    particles = written.particles(TRUTH)
    particles["rlnOpticsGroup"] = 1 + np.arange(COUNT) % 2
    particles["rlnMicrographName"] = [f"m{row % micrographs}.mrc" for row in range(COUNT)]
    particles["rlnDefocusU"] = 10000.0 + 10 * np.arange(COUNT)
    particles["rlnDefocusV"] = particles["rlnDefocusU"]
    particles["rlnDefocusAngle"] = 0.0
    optics = pd.DataFrame(
        {
            "rlnOpticsGroup": [1, 2],
            "rlnVoltage": 300.0,
            "rlnSphericalAberration": 2.7,
            "rlnAmplitudeContrast": 0.1,
            "rlnImagePixelSize": 1.5,
            "rlnImageSize": 64,
        }
    )
    order = np.arange(COUNT) if order is None else order
    return {"optics": optics, "particles": particles.iloc[order].reset_index(drop=True)}


def named(path: Path, **more: Any) -> Embedding:
    return Embedding("any", path, TRUTH.latents, image_names=np.array(TRUTH.names), **more)


@pytest.mark.parametrize("name", list(WRITERS))
def test_every_program_is_judged_and_what_is_not_done_is_named(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    WRITERS[name][1](folder, TRUTH)
    evaluate_command([str(folder), "--resamples", "0", "--out", str(tmp_path / "out")])
    found = json.loads((tmp_path / "out/metrics.json").read_text())
    assert found["run"]["kind"] == f"latents of {WRITERS[name][0]}"
    assert set(found["not_measured"]) >= IMAGED
    linear = name in {"recovar", "recovar_old", "cryosparc"}
    of_maps = "--inference statistics" in found["not_measured"]["rotation test"]
    assert of_maps == (linear and name != "recovar_old")
    assert ("pose_leak" in found["scores"]) == (name in POSED)
    assert ("pose_leak" in found["not_measured"]) == (name not in POSED)
    assert found["scores"]["shape"]["peaks_p_value"]["value"] > 0.01
    assert (tmp_path / "out/report.html").is_file()
    assert (tmp_path / "out/translations/metrics.json").is_file() == (name == "multi_body")


def test_the_report_of_latents_is_drawn_again(tmp_path: Path) -> None:
    written.hetsiren(tmp_path / "run", TRUTH)
    words = [str(tmp_path / "run/predicted_latents.xmd")]
    report_command(words)
    page = tmp_path / "run/predicted_latents_evaluation/report.html"
    page.unlink()
    report_command(words)
    assert "cryo-disentangle select" in page.read_text()


def test_rows_are_joined_by_image_name_whatever_their_order(tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(COUNT)
    starfile.write(table(order), tmp_path / "p.star")
    joined = join_latents(named(tmp_path / "z.npy"), DataFiles(tmp_path / "p.star"))
    assert joined.particles.rotation is not None
    np.testing.assert_allclose(joined.particles.rotation, TRUTH.rotation, atol=1e-5)
    defocus = joined.particles.labels["ctf"][:, 2]
    np.testing.assert_allclose(defocus, 10000 + 10 * np.arange(COUNT))
    np.testing.assert_array_equal(joined.groups["micrograph"], np.arange(COUNT) % 4)
    np.testing.assert_array_equal(joined.groups["optics_group"], np.arange(COUNT) % 2)
    assert joined.missing == {}


def test_recovar_is_joined_with_the_file_that_it_was_given(tmp_path: Path) -> None:
    written.recovar(tmp_path, TRUTH)
    starfile.write(table(), tmp_path / "particles.star")
    found = join_latents(
        open_embedding(tmp_path), DataFiles(particles=tmp_path / "particles.star")
    ).particles
    assert found.rotation is not None
    assert found.log_variance is not None
    np.testing.assert_allclose(found.rotation, TRUTH.rotation[TRUTH.used], atol=1e-5)
    np.testing.assert_allclose(found.log_variance, np.log(1 / 4), atol=1e-6)


@pytest.mark.parametrize("whole", [True, False])
def test_poses_of_all_or_of_the_selected_particles(whole: bool, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(100)[:COUNT]
    rotation = Rotation.random(100, random_state=3).as_matrix()
    written.pickled(tmp_path / "poses.pkl", rotation if whole else rotation[rows])
    run = Embedding("cryoDRGN", tmp_path / "z.pkl", TRUTH.latents, rows=rows)
    found = join_latents(run, DataFiles(poses=tmp_path / "poses.pkl")).particles.rotation
    assert found is not None
    np.testing.assert_allclose(found, rotation[rows], atol=1e-6)


def test_poses_that_could_be_in_two_orders_are_refused(tmp_path: Path) -> None:
    written.pickled(tmp_path / "poses.pkl", TRUTH.rotation)
    files = DataFiles(poses=tmp_path / "poses.pkl")
    rows = np.arange(COUNT)[::-1]
    with pytest.raises(ValueError, match=r"poses\.pkl: 40 rows, expected 40, one for each latent"):
        join_latents(Embedding("any", tmp_path / "z", TRUTH.latents, rows=rows), files)
    with pytest.raises(ValueError, match="does not say which of its rows the latents belong to"):
        join_latents(named(tmp_path / "z"), files)


def test_poses_beside_latents_win_over_the_table_and_a_given_file_over_both(
    tmp_path: Path,
) -> None:
    written.hetsiren(tmp_path, TRUTH)
    run = open_embedding(tmp_path)
    turned = table()
    turned["particles"]["rlnAngleRot"] += 90
    starfile.write(turned, tmp_path / "p.star")
    files = DataFiles(particles=tmp_path / "p.star")
    first = join_latents(run, files)
    second = join_latents(run, DataFiles(tmp_path / "p.star", tmp_path / "p.star"))
    assert first.particles.rotation is not None
    assert second.particles.rotation is not None
    np.testing.assert_allclose(first.particles.rotation, TRUTH.rotation, atol=1e-5)
    assert (first.particles.rotation - second.particles.rotation).abs().max() > 0.1
    assert first.sources["poses"].endswith(".xmd")


def test_covariances_that_are_none(tmp_path: Path) -> None:
    covariance = np.tile(np.eye(3), (COUNT, 1, 1))
    covariance[3] = -1
    with pytest.raises(ValueError, match=r"1 of 40 covariances .* the first in row 4"):
        join_latents(named(tmp_path / "z", covariance=covariance))


def test_ctf_that_a_table_lacks_is_said_and_nothing_else_is_lost(tmp_path: Path) -> None:
    tables = table()
    del tables["optics"]["rlnVoltage"]
    starfile.write(tables, tmp_path / "p.star")
    joined = join_latents(named(tmp_path / "z"), DataFiles(particles=tmp_path / "p.star"))
    assert "_rlnVoltage" in joined.missing["defocus_leak"]
    assert joined.particles.rotation is not None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--truth", "t.npz"], "--truth needs a run whose model is read"),
        (["--epoch", "3"], "--epoch needs a run whose model is read"),
        (["--inference", "rendering"], "rendering needs a decoder"),
        (["--sample", "3"], "sample must be at least 12"),
        (["--resamples", "1"], "resamples 0 or at least 2"),
        (["--z", "translations"], "no latents translations"),
    ],
)
def test_options_that_do_not_go_with_latents(
    words: list[str], message: str, tmp_path: Path
) -> None:
    written.recovar(tmp_path / "run", TRUTH)
    with pytest.raises(ValueError, match=message):
        evaluate_command([str(tmp_path / "run"), *words])


def test_a_folder_of_no_known_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no known program, looked for config\.yaml wi"):
        evaluate_command([str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="no such file"):
        evaluate_command([str(tmp_path / "lost")])


def test_few_latents(tmp_path: Path) -> None:
    few = Embedding("any", tmp_path / "z", TRUTH.latents[:11])
    with pytest.raises(ValueError, match="11 latents, fewer than 12"):
        evaluate_embedding(tmp_path, few)
