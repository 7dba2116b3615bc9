"""Runs of other programs are read as those programs wrote them."""

from __future__ import annotations

import argparse
import json
import os
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from tests.embeddings import written
from tests.embeddings.written import BOX, COUNT, PIXEL, WIDTH, WRITERS, truth
from tests.helpers import shared

TRUTH = truth()
SCALE = {"px": 1 / BOX, "box": 1.0, "angstrom": 1 / (BOX * PIXEL)}


def write(name: str, folder: Path) -> Path:
    WRITERS[name][1](folder, TRUTH)
    return folder


@pytest.mark.parametrize("name", list(WRITERS))
def test_latents_are_those_that_were_written(name: str, tmp_path: Path) -> None:
    found = open_embedding(write(name, tmp_path / "run"))
    latents = TRUTH.latents
    if name == "recovar_first":
        latents = latents[np.concatenate([TRUTH.used[::2], TRUTH.used[1::2]])]
    elif name.startswith("recovar"):
        latents = latents[TRUTH.used]
    elif name == "multi_body":
        latents = np.hstack([5 * latents, -5 * latents])
    assert found.tool == WRITERS[name][0]
    np.testing.assert_allclose(found.latents, latents, atol=1e-4)
    assert len(found.coordinates) == found.latents.shape[1]


@pytest.mark.parametrize("name", list(WRITERS))
def test_poses_are_in_the_order_of_the_latents(name: str, tmp_path: Path) -> None:
    poses = open_embedding(write(name, tmp_path / "run")).poses
    if poses is None:
        assert name in {
            "cryodrgn_table",
            "recovar",
            "recovar_old",
            "recovar_first",
            "cryosparc_classes",
            "cryostar",
            "cryosphere",
            "eman2",
        }
        return
    np.testing.assert_allclose(poses.rotation, TRUTH.rotation, atol=1e-5)
    assert poses.translation is not None
    np.testing.assert_allclose(poses.translation * SCALE[poses.unit], TRUTH.fraction, atol=1e-6)


def test_recovar_rows_count_in_the_particle_file(tmp_path: Path) -> None:
    found = open_embedding(write("recovar", tmp_path / "run"))
    np.testing.assert_array_equal(found.rows, TRUTH.used)
    assert found.left_out == TRUTH.used.max() + 1 - len(TRUTH.used)
    assert found.particles == "particles.star"
    assert found.volumes is not None
    assert len(found.volumes.components) == WIDTH


def test_what_recovar_calls_precision_is_inverted(tmp_path: Path) -> None:
    found = open_embedding(write("recovar", tmp_path / "run"))
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance[0], np.eye(WIDTH) / 4)


def test_recovar_is_read_without_regularisation_when_asked_for(tmp_path: Path) -> None:
    found = open_embedding(write("recovar", tmp_path / "run"), f"{WIDTH}_noreg")
    np.testing.assert_allclose(found.latents, 1.3 * TRUTH.latents[TRUTH.used], rtol=1e-6)
    assert found.volumes is None


@pytest.mark.parametrize("name", ["recovar", "recovar_old"])
def test_a_number_of_coordinates_that_recovar_did_not_compute(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no latents 9, found 3, 3_noreg"):
        open_embedding(write(name, tmp_path / "run"), "9")


def test_recovar_latents_of_other_particles_than_its_half_sets(tmp_path: Path) -> None:
    folder = write("recovar", tmp_path / "run")
    written.pickled(folder / "model/particles_halfsets.pkl", [np.arange(3), np.arange(3, 5)])
    with pytest.raises(ValueError, match=r"particles_halfsets\.pkl names 5 others"):
        open_embedding(folder)


def test_the_newest_epoch_is_read(tmp_path: Path) -> None:
    folder = write("cryodrgn", tmp_path / "run")
    written.pickled(folder / "z.4.pkl", 0 * TRUTH.latents)
    assert open_embedding(folder).source.name == "z.19.pkl"


def test_cryosparc_poses_are_joined_by_uid(tmp_path: Path) -> None:
    folder = write("cryosparc", tmp_path / "run")
    found = open_embedding(folder)
    np.testing.assert_array_equal(found.uids, TRUTH.uids)
    assert found.volumes is not None
    assert found.volumes.components[1].name == "J11_component_1.mrc"


def test_a_particle_table_of_cryosparc_is_read_as_its_folder(tmp_path: Path) -> None:
    folder = write("cryosparc", tmp_path / "run")
    found = open_embedding(folder / "J11_particles.cs")
    np.testing.assert_array_equal(found.latents, open_embedding(folder).latents)


def test_cryosparc_particles_without_a_pose_are_refused(tmp_path: Path) -> None:
    folder = write("cryosparc", tmp_path / "run")
    written.save_cs(folder / "J11_passthrough_particles.cs", written.passthrough(TRUTH)[:7])
    with pytest.raises(ValueError, match=f"{COUNT - 7} of {COUNT} particles are not in"):
        open_embedding(folder)


def test_a_uid_of_two_poses_is_refused(tmp_path: Path) -> None:
    folder = write("cryosparc", tmp_path / "run")
    table = written.passthrough(TRUTH)
    table["uid"][3] = table["uid"][7]
    written.save_cs(folder / "J11_passthrough_particles.cs", table)
    with pytest.raises(ValueError, match="rows 4 and 8 have the same uid"):
        open_embedding(folder)


def test_3d_flex_is_told_from_variability_analysis(tmp_path: Path) -> None:
    written.cryosparc(tmp_path / "run", TRUTH, "flex_train")
    assert open_embedding(tmp_path / "run").tool == "cryoSPARC 3DFlex"


def test_multi_body_translations_and_components_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = write("multi_body", tmp_path / "run")
    moved = open_embedding(folder, "translations")
    assert moved.latents.shape == (COUNT, 4)
    assert moved.coordinates[0] == "body 1 translation x"
    components = open_embedding(folder, "components")
    np.testing.assert_allclose(components.latents, TRUTH.latents, rtol=1e-5)
    with pytest.raises(ValueError, match="no latents bodies, found rotations, translations"):
        open_embedding(folder, "bodies")


def test_multi_body_components_are_joined_by_image_name(tmp_path: Path) -> None:
    folder = write("multi_body", tmp_path / "run")
    path = folder / "analyse_projections_along_eigenvectors_all_particles.txt"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(reversed(lines)))
    components = open_embedding(folder, "components")
    np.testing.assert_allclose(components.latents, TRUTH.latents, rtol=1e-5)
    path.write_text("".join(lines[1:]))
    with pytest.raises(ValueError, match=r"1 of 40 particles of run_data\.star are not in"):
        open_embedding(folder, "components")


def test_opus_bodies_are_read_when_asked_for(tmp_path: Path) -> None:
    folder = write("opus", tmp_path / "run")
    assert open_embedding(folder, "multi_mu").latents.shape == (COUNT, 2)
    with pytest.raises(ValueError, match="no sigma, found mu, multi_mu, nn"):
        open_embedding(folder, "sigma")


def test_arrays_of_anybody(tmp_path: Path) -> None:
    latents = TRUTH.latents
    np.savez(tmp_path / "a.npz", z=latents, row=np.arange(COUNT) + 5, other=2 * latents)
    (tmp_path / "b.csv").write_text("x,y\n1,2\n3,4\n")
    found = open_embedding(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.rows, np.arange(COUNT) + 5)
    np.testing.assert_array_equal(open_embedding(tmp_path / "a.npz", "other").latents, 2 * latents)
    with pytest.raises(ValueError, match="no array zz, found row; name it by"):
        open_embedding(tmp_path / "a.npz", "zz")
    table = open_embedding(tmp_path / "b.csv")
    assert table.coordinates == ("x", "y")
    np.testing.assert_array_equal(table.latents, [[1, 2], [3, 4]])


def test_latents_that_are_not_finite_are_counted(tmp_path: Path) -> None:
    latents = TRUTH.latents.copy()
    latents[[3, 5], 1] = np.nan
    np.save(tmp_path / "z.npy", latents)
    with pytest.raises(ValueError, match="2 of 40 latents are not finite, the first in row 4"):
        open_embedding(tmp_path / "z.npy")


def test_a_folder_of_no_known_program(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no known program, looked for .*model/params.pkl"):
        open_embedding(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        open_embedding(tmp_path / "none")


def test_own_runs_are_read_from_what_evaluate_or_predict_wrote(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.yaml").touch()
    with pytest.raises(FileNotFoundError, match=r"no latents.npz in evaluation or prediction: run"):
        open_embedding(tmp_path)
    for name, latents in (("evaluation", TRUTH.latents), ("prediction", 2 * TRUTH.latents)):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "latents.npz", latents=latents, row=np.arange(COUNT) + 3)
        np.testing.assert_array_equal(open_embedding(tmp_path, name).rows, np.arange(COUNT) + 3)
    assert open_embedding(tmp_path, "evaluation").tool == "cryo-disentangle"
    with pytest.raises(ValueError, match="latents of both evaluation and prediction; name one"):
        open_embedding(tmp_path)


def test_marks_of_two_programs_in_one_folder(tmp_path: Path) -> None:
    write("cryodrgn", tmp_path / "run")
    np.save(tmp_path / "run/z.npy", TRUTH.latents)
    with pytest.raises(ValueError, match="files of cryoDRGN and of cryoSTAR or cryoSPHERE"):
        open_embedding(tmp_path / "run")


def test_what_a_parameter_file_wants_to_import_is_not_run(tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("true",)

    folder = write("recovar", tmp_path / "run")
    (folder / "model/params.pkl").write_bytes(pickle.dumps({"input_args": Harmful()}))
    with pytest.raises(ValueError, match="system"):
        open_embedding(folder)


def test_namespaces_of_parameter_files_are_data_alone(tmp_path: Path) -> None:
    folder = write("recovar", tmp_path / "run")
    written.pickled(
        folder / "model/params.pkl", {"input_args": argparse.Namespace(particles="a.cs")}
    )
    assert open_embedding(folder).particles == "a.cs"


def test_particles_are_taken_with_all_that_is_known_of_them(tmp_path: Path) -> None:
    found = open_embedding(write("recovar", tmp_path / "run"))
    taken = found.take(np.array([2, 0]))
    assert isinstance(taken, Embedding)
    np.testing.assert_array_equal(taken.rows, TRUTH.used[[2, 0]])
    np.testing.assert_array_equal(taken.extra["contrast"], found.extra["contrast"][[2, 0]])
    assert taken.left_out == found.left_out + len(found) - 2


def test_rows_of_different_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="40 latents, but 3 rows of rows"):
        Embedding("any", Path("z"), TRUTH.latents, rows=np.arange(3))


def test_a_job_type_is_read_from_json(tmp_path: Path) -> None:
    folder = write("cryosparc", tmp_path / "run")
    (folder / "job.json").write_text(json.dumps({"type": "something"}))
    assert open_embedding(folder).tool == "cryoSPARC"


SHARED = {
    "cryodrgn": None,
    "drgnai": None,
    "recovar1": None,
    "recovar04": None,
    "CS-job/J11": None,
    "MultiBody/job010": "components",
    "opusdsd": None,
    "cryostar": None,
    "cryosphere": None,
    "hetsiren/predicted_latents.xmd": None,
    "hetsiren/particles.xmd": None,
    "gmm_00": None,
}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs as an independent script writes them."""
    script = shared("tool_formats/write_formats.py")
    folder = tmp_path_factory.mktemp("layouts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [str(script), str(folder)])
        runpy.run_path(str(script))
    return folder


@pytest.mark.parametrize("name", list(SHARED))
def test_layouts_of_an_independent_writer(name: str, layouts: Path) -> None:
    found = open_embedding(layouts / name, SHARED[name])
    with np.load(layouts / "truth.npz") as written_from:
        latents = written_from["z"][written_from["used"] if name.startswith("recovar") else ...]
        np.testing.assert_allclose(found.latents[:, :3], latents, atol=1e-5)
        if found.poses is not None:
            np.testing.assert_allclose(found.poses.rotation, written_from["rot"], atol=1e-5)


@pytest.mark.parametrize("moved", [False, True])
def test_rows_of_a_cryodrgn_run_are_those_that_ind_selected(moved: bool, tmp_path: Path) -> None:
    folder = write("cryodrgn", tmp_path / "run")
    chosen = np.random.default_rng(0).permutation(100)[:COUNT]
    written.pickled(folder / "ind.pkl", chosen)
    place = "elsewhere/ind.pkl" if moved else str(folder / "ind.pkl")
    arguments = f"dataset_args:\n  particles: p.star\n  ind: {place}\n"
    (folder / "config.yaml").write_text(arguments)
    for path in (folder, folder / "z.19.pkl"):
        found = open_embedding(path)
        np.testing.assert_array_equal(found.rows, chosen)
        assert not found.counted
    assert open_embedding(folder).particles == "p.star"


def test_rows_of_a_cryodrgn_run_whose_ind_is_lost_are_not_made_up(tmp_path: Path) -> None:
    folder = write("cryodrgn", tmp_path / "run")
    (folder / "config.yaml").write_text("dataset_args: {particles: p.star, ind: lost.pkl}\n")
    assert open_embedding(folder).rows is None
    assert open_embedding(folder / "z.19.pkl").rows is None
    (folder / "config.yaml").write_text("dataset_args: {particles: p.star, ind: null}\n")
    np.testing.assert_array_equal(open_embedding(folder).rows, np.arange(COUNT))


def test_a_selection_of_another_number_of_images(tmp_path: Path) -> None:
    folder = write("cryodrgn", tmp_path / "run")
    written.pickled(folder / "ind.pkl", np.arange(7))
    (folder / "config.yaml").write_text("dataset_args: {ind: ind.pkl}\n")
    with pytest.raises(ValueError, match=r"selects 7 images, but .*z\.19\.pkl has 40 latents"):
        open_embedding(folder)
    written.pickled(tmp_path / "opus/config.pkl", [1])
    with pytest.raises(ValueError, match="expected a mapping, found list"):
        open_embedding(_opus_with(tmp_path / "opus"))


def _opus_with(folder: Path) -> Path:
    written.pickled(folder / "z.19.pkl", TRUTH.latents)
    return folder
