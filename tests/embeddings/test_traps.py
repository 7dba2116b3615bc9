"""What misleads readers of other programs' files, and how other versions write them."""

from __future__ import annotations

import argparse
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import starfile
import torch
from scipy.spatial.transform import Rotation

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.evaluation.joined import join_latents
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.particle_table import open_particle_table
from tests.embeddings import written
from tests.embeddings.written import BOX, COUNT, PIXEL, WIDTH, truth

TRUTH = truth()
ORDER = np.random.default_rng(5).permutation(COUNT)
HALVES = [ORDER[::2], ORDER[1::2]]


def parameters(folder: Path, version: object, halves: list[npt.NDArray[Any]]) -> None:
    """RECOVAR's description of a run."""
    arguments = argparse.Namespace(particles="p.star")
    written.pickled(folder / "model/params.pkl", {"version": version, "input_args": arguments})
    written.pickled(folder / "model/particles_halfsets.pkl", halves)


@pytest.mark.parametrize("name", ["recovar", "recovar_old"])
def test_recovar_calls_a_precision_covariance(name: str, tmp_path: Path) -> None:
    written.WRITERS[name][1](tmp_path, TRUTH)
    covariance = open_embedding(tmp_path).covariance
    assert covariance is not None
    np.testing.assert_allclose(covariance, np.tile(np.eye(WIDTH) / 4, (30, 1, 1)))


@pytest.mark.parametrize("units", [np.ones(WIDTH), np.array([1e-3, 1.0, 1e3])])
def test_recovar_particles_of_which_nothing_is_known_are_not_embedded(
    units: npt.NDArray[Any], tmp_path: Path
) -> None:
    written.recovar(tmp_path, TRUTH)
    path = tmp_path / f"model/zdim_{WIDTH}/latent_precision.npy"
    precision = np.load(path)
    direction = np.array([0.6, 0.8, 0], np.float32)
    none, nan, zero = TRUTH.used[[2, 5, 7]]
    # Of a matrix of rank two, float32 keeps an eigenvalue of rounding errors.
    precision[none] -= 4 * np.outer(direction, direction)
    precision[nan, 0, 0] = np.nan
    precision[zero] = 0
    np.save(path, (precision / units / units[:, None]).astype(np.float32))
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.rows, np.delete(TRUTH.used, [2, 5, 7]))
    assert found.left_out == TRUTH.used.max() + 1 - len(TRUTH.used) + 3
    assert found.mind.startswith("latent_precision of 3 particles is singular: nothing is known")
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance[0], np.diag(units**2) / 4, rtol=1e-6)
    np.save(path, 0 * precision)
    with pytest.raises(ValueError, match=r"of all 30 particles is singular, .* fewer coord"):
        open_embedding(tmp_path)


def test_recovar_names_a_file_that_it_does_not_write(tmp_path: Path) -> None:
    written.recovar(tmp_path, TRUTH)
    assert "embeddings.pkl" in (tmp_path / "model/metadata.json").read_text()
    assert open_embedding(tmp_path).source.name == "latent_coords.npy"


def test_recovar_of_all_particles_is_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "model/zdim_3").mkdir(parents=True)
    np.save(tmp_path / "model/zdim_3/latent_coords.npy", TRUTH.latents)
    parameters(tmp_path, "0.7", HALVES)
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.rows, np.arange(COUNT))
    np.testing.assert_array_equal(found.latents, TRUTH.latents)


@pytest.mark.parametrize(
    ("version", "rows"), [("0", np.concatenate(HALVES)), ("0.8", np.arange(COUNT))]
)
def test_recovar_of_all_particles_by_version(
    version: str, rows: npt.NDArray[Any], tmp_path: Path
) -> None:
    stored = {"latent_coords": {"3": TRUTH.latents[rows]}, "zs_cont": {}}
    written.pickled(tmp_path / "model/embeddings.pkl", stored)
    parameters(tmp_path, version, HALVES)
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.latents, TRUTH.latents[found.rows])


def test_recovar_latents_of_used_particles_alone(tmp_path: Path) -> None:
    used = TRUTH.used
    written.pickled(tmp_path / "model/embeddings.pkl", {"zs": {3: TRUTH.latents[used]}})
    parameters(tmp_path, "0.8", [used[1::2], used[::2]])
    np.testing.assert_array_equal(open_embedding(tmp_path).rows, used)
    parameters(tmp_path, "0.5", [used[1::2], used[::2]])
    with pytest.raises(ValueError, match=r"version 0.5 in params.pkl .*order is not known"):
        open_embedding(tmp_path)


def test_arrays_of_jax_are_read_without_it(tmp_path: Path) -> None:
    """RECOVAR keeps some among its parameters, and before 1.0 among its latents."""

    class Array:
        """Pickles itself as JAX's arrays do."""

        def __init__(self, values: npt.NDArray[Any]) -> None:
            self.values = values

        def __reduce__(self) -> tuple[Any, ...]:
            make, given, state, *_ = tuple(self.values.__reduce__())
            return array._reconstruct_array, (make, given, state, {"sharding": array.Sharding()})

    array = types.ModuleType("jax._src.array")
    exec("class Sharding: pass\ndef _reconstruct_array(*_): raise RuntimeError", array.__dict__)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("jax", "jax._src"):
            patch.setitem(sys.modules, name, types.ModuleType(name))
        patch.setitem(sys.modules, "jax._src.array", array)
        stored = {"zs": {3: Array(TRUTH.latents)}, "options": array.Sharding()}
        written.pickled(tmp_path / "model/embeddings.pkl", stored)
    parameters(tmp_path, "0.4", HALVES)
    np.testing.assert_array_equal(open_embedding(tmp_path).latents, TRUTH.latents)


def test_recovar_of_the_largest_dimension_is_taken(tmp_path: Path) -> None:
    written.recovar(tmp_path, TRUTH)
    shutil.copytree(tmp_path / "model/zdim_3", tmp_path / "model/zdim_10")
    assert open_embedding(tmp_path).source.parent.name == "zdim_10"


@pytest.mark.parametrize("arrays", [2, 3, 5])
def test_opus_poses_have_more_arrays_than_two(arrays: int, tmp_path: Path) -> None:
    written.opus(tmp_path, TRUTH)
    more = (TRUTH.rotation, TRUTH.fraction, TRUTH.euler, TRUTH.euler, TRUTH.euler)
    written.pickled(tmp_path / "pose.19.pkl", more[:arrays])
    (tmp_path / "config.pkl").unlink()
    for path in (tmp_path, tmp_path / "z.19.pkl"):
        found = open_embedding(path)
        assert found.tool == "OPUS-DSD"
        assert found.poses is not None
        np.testing.assert_array_equal(found.poses.translation, TRUTH.fraction)


@pytest.mark.parametrize("final", ["z.19.pkl", "z.pkl"])
def test_opus_particles_that_were_never_visited_are_not_embedded(
    final: str, tmp_path: Path
) -> None:
    written.opus(tmp_path, TRUTH)
    assert "do not tell apart" in open_embedding(tmp_path).mind
    first = torch.load(tmp_path / "z.19.pkl", weights_only=False)
    for kind in ("z", "pose"):
        (tmp_path / f"{kind}.19.pkl").rename(tmp_path / final.replace("z", kind))
    visited = np.ones(COUNT, dtype=bool)
    visited[[3, 8]] = False
    first["mu"][visited] = 0.7 * first["mu"][visited]
    torch.save(first, tmp_path / "z.0.pkl")
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.latents, TRUTH.latents[visited])
    assert found.left_out == 2
    assert found.mind.startswith("2 particles have the latents of z.0.pkl: training has not vis")
    assert found.poses is not None
    np.testing.assert_array_equal(found.poses.rotation, TRUTH.rotation[visited])
    torch.save({"mu": torch.from_numpy(TRUTH.latents), "nn": []}, tmp_path / "z.0.pkl")
    with pytest.raises(ValueError, match="training has visited no particle between them"):
        open_embedding(tmp_path)
    first["mu"] = first["mu"][:, :2]
    torch.save(first, tmp_path / "z.0.pkl")
    assert len(open_embedding(tmp_path)) == COUNT


def test_opus_of_older_modes_writes_as_cryodrgn_does(tmp_path: Path) -> None:
    written.cryodrgn(tmp_path, TRUTH)
    written.pickled(tmp_path / "config.pkl", {"dataset_args": {"poses": "pose.pkl"}})
    found = open_embedding(tmp_path)
    assert found.tool == "OPUS-DSD"
    assert found.covariance is not None


@pytest.mark.parametrize("place", ["", "out"])
@pytest.mark.parametrize("shifts", [True, False])
def test_drgnai_shifts_are_pixels_or_absent(place: str, shifts: bool, tmp_path: Path) -> None:
    written.drgnai(tmp_path, TRUTH)
    if not shifts:
        written.pickled(tmp_path / "out/pose.30.pkl", TRUTH.rotation)
    poses = open_embedding(tmp_path / place).poses
    assert poses is not None
    assert poses.unit == "px"
    assert (poses.translation is not None) == shifts
    np.testing.assert_array_equal(poses.rotation, TRUTH.rotation)


@pytest.mark.parametrize("configured", [True, False])
def test_shifts_of_cryodrgn_abinit_are_pixels(configured: bool, tmp_path: Path) -> None:
    scale = 1 if configured else BOX
    written.pickled(tmp_path / "z.pkl", TRUTH.latents)
    written.pickled(tmp_path / "pose.pkl", (TRUTH.rotation, TRUTH.fraction * scale))
    if configured:
        (tmp_path / "config.yaml").write_text("data_norm_mean: 0\ndataset_args: {ind: null}\n")
    poses = open_embedding(tmp_path).poses
    assert poses is not None
    assert poses.unit == "px"


@pytest.mark.parametrize("whole", [True, False])
def test_poses_that_a_cryodrgn_run_was_given(whole: bool, tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(100)[:COUNT]
    rotation = Rotation.random(100, random_state=3).as_matrix()
    written.pickled(tmp_path / "z.19.pkl", TRUTH.latents)
    written.pickled(tmp_path / "ind.pkl", rows)
    written.pickled(tmp_path / "poses.pkl", rotation if whole else rotation[rows])
    (tmp_path / "config.yaml").write_text("dataset_args: {ind: ind.pkl, poses: old/poses.pkl}\n")
    found = open_embedding(tmp_path)
    assert found.poses is not None
    np.testing.assert_array_equal(found.poses.rotation, rotation[rows])
    written.pickled(tmp_path / "poses.pkl", rotation[: COUNT + 1])
    with pytest.raises(ValueError, match=r"41 poses, but .* has 40 latents, and which of the im"):
        open_embedding(tmp_path)


def test_ctf_of_all_images_goes_with_latents_of_some(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).permutation(100)[:COUNT]
    ctf = np.tile([BOX, PIXEL, 1e4, 1e4, 0, 300, 2.7, 0.1, 0], (100, 1))
    ctf[:, 2] += np.arange(100)
    written.pickled(tmp_path / "z.19.pkl", TRUTH.latents)
    written.pickled(tmp_path / "ind.pkl", rows)
    written.pickled(tmp_path / "ctf.pkl", ctf)
    (tmp_path / "config.yaml").write_text("dataset_args: {ind: ind.pkl}\n")
    joined = join_latents(open_embedding(tmp_path), DataFiles(ctf=tmp_path / "ctf.pkl"))
    np.testing.assert_allclose(joined.particles.labels["ctf"][:, 2], 1e4 + rows)


def test_a_stream_of_cryosparc_is_said_to_be_one(tmp_path: Path) -> None:
    written.cryosparc(tmp_path, TRUTH)
    (tmp_path / "J11_particles.cs").write_bytes(b"\x95CSDAT" + bytes(99))
    for path in (tmp_path, tmp_path / "J11_particles.cs"):
        with pytest.raises(ValueError, match="a CSDAT stream of cryoSPARC"):
            open_embedding(path)


@pytest.mark.parametrize(
    "name",
    [
        "cryosparc_P3_J11_particles.cs",
        "cryosparc_P3_J11_005_particles.cs",
        "J11_particles_exported.cs",
    ],
)
def test_tables_of_older_and_exported_jobs(name: str, tmp_path: Path) -> None:
    written.cryosparc(tmp_path, TRUTH)
    (tmp_path / "J11_particles.cs").rename(tmp_path / name)
    (tmp_path / "J11_passthrough_particles.cs").rename(tmp_path / f"passthrough_{name}")
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.latents, TRUTH.latents)
    assert found.poses is not None
    np.testing.assert_allclose(found.poses.rotation, TRUTH.rotation, atol=1e-5)


def test_the_last_iteration_of_a_job_is_read_and_two_results_are_not(tmp_path: Path) -> None:
    written.cryosparc(tmp_path, TRUTH)
    table = np.load(tmp_path / "J11_particles.cs")
    (tmp_path / "J11_particles.cs").unlink()
    written.save_cs(tmp_path / "cryosparc_P3_J11_007_particles.cs", table)
    table["components_mode_0/value"] = 0
    written.save_cs(tmp_path / "cryosparc_P3_J11_002_particles.cs", table)
    np.testing.assert_array_equal(open_embedding(tmp_path).latents, TRUTH.latents)
    written.save_cs(tmp_path / "J12_particles.cs", table)
    with pytest.raises(ValueError, match="several particle tables with latents, name one: "):
        open_embedding(tmp_path)


@pytest.mark.parametrize("old", [True, False])
def test_classes_of_cryosparc_with_a_pose_for_each(old: bool, tmp_path: Path) -> None:
    fields: list[Any] = [("uid", "<u8")]
    if old:
        fields += [(f"alignments_class3D_{k}/class_posterior", "<f4") for k in range(WIDTH)]
    else:
        fields += [("alignments3D_multi/class_posterior", "<f4", (WIDTH,))]
        fields += [("alignments3D_multi/pose", "<f4", (WIDTH, 3))]
        fields += [("alignments3D_multi/shift", "<f4", (WIDTH, 2))]
    table = np.zeros(COUNT, fields)
    table["uid"] = TRUTH.uids
    best = TRUTH.latents.argmax(1)
    for k in range(WIDTH):
        if old:
            table[f"alignments_class3D_{k}/class_posterior"] = TRUTH.latents[:, k]
        else:
            table["alignments3D_multi/class_posterior"][:, k] = TRUTH.latents[:, k]
    if not old:
        vectors = Rotation.from_matrix(TRUTH.rotation).inv().as_rotvec()
        table["alignments3D_multi/pose"][np.arange(COUNT), best] = vectors
        table["alignments3D_multi/shift"][np.arange(COUNT), best] = TRUTH.fraction * BOX
    written.save_cs(tmp_path / "J12_particles.cs", table)
    found = open_embedding(tmp_path)
    np.testing.assert_array_equal(found.latents, TRUTH.latents)
    if not old:
        assert found.poses is not None
        np.testing.assert_allclose(found.poses.rotation, TRUTH.rotation, atol=1e-5)
        assert found.poses.translation is not None
        np.testing.assert_allclose(found.poses.translation, TRUTH.fraction * BOX, atol=1e-5)


def test_poses_in_the_table_of_latents_itself(tmp_path: Path) -> None:
    written.cryosparc(tmp_path, TRUTH)
    latents = np.load(tmp_path / "J11_particles.cs")
    poses = written.passthrough(TRUTH)
    both = np.zeros(COUNT, latents.dtype.descr + poses.dtype.descr[1:])
    for table in (latents, poses):
        for name in table.dtype.names or ():
            both[name] = table[name]
    for path in tmp_path.glob("*.cs"):
        path.unlink()
    written.save_cs(tmp_path / "J11_particles.cs", both)
    found = open_embedding(tmp_path / "J11_particles.cs")
    assert found.poses is not None
    np.testing.assert_allclose(found.poses.rotation, TRUTH.rotation, atol=1e-5)


def test_bodies_of_a_file_of_its_own_name_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    written.multi_body(tmp_path, TRUTH)
    tables: dict[str, Any] = starfile.read(tmp_path / "run_data.star")
    body = tables["images_body_1"]
    many = {f"images_body_{k}": body.assign(rlnOriginXAngst=float(k)) for k in (10, 2, 1)}
    starfile.write({"particles": tables["particles"], **many}, tmp_path / "run_ct5_data.star")
    found = open_embedding(tmp_path / "run_ct5_data.star", "translations")
    np.testing.assert_allclose(found.latents[0, ::2], [1, 2, 10])


def test_multi_body_before_optics_groups(tmp_path: Path) -> None:
    written.multi_body(tmp_path, TRUTH)
    tables: dict[str, Any] = starfile.read(tmp_path / "run_data.star")
    old = {
        name: table.rename(columns=lambda label: label.replace("Angst", ""))
        for name, table in tables.items()
    }
    old["images"] = old.pop("particles")
    starfile.write(old, tmp_path / "run_data.star", overwrite=True)
    found = open_embedding(tmp_path, "translations")
    np.testing.assert_allclose(found.latents[:, :2], 5 * TRUTH.latents[:, :2], atol=1e-4)
    assert found.poses is not None
    assert found.poses.unit == "px"


def test_projections_of_flex_analyse_alone_or_beside_the_refinement(tmp_path: Path) -> None:
    written.multi_body(tmp_path, TRUTH)
    name = "analyse_projections_along_eigenvectors_all_particles.txt"
    beside = open_embedding(tmp_path / name)
    np.testing.assert_allclose(beside.latents, TRUTH.latents, rtol=1e-5)
    assert beside.poses is not None
    (tmp_path / "run_data.star").unlink()
    for path in (tmp_path, tmp_path / name):
        alone = open_embedding(path)
        np.testing.assert_allclose(alone.latents, TRUTH.latents, rtol=1e-5)
        assert alone.image_names is not None
        assert alone.image_names.tolist() == TRUTH.names
    shutil.copy(tmp_path / name, tmp_path / name.replace("analyse", "other"))
    with pytest.raises(ValueError, match="several files of projections, name one"):
        open_embedding(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x82\xff", b"word word\n"])
def test_projections_that_are_none(content: bytes, tmp_path: Path) -> None:
    written.multi_body(tmp_path, TRUTH)
    path = tmp_path / "analyse_projections_along_eigenvectors_all_particles.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name):
        open_embedding(tmp_path, "components")


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_damaged_description_of_a_job_is_named(content: str, tmp_path: Path) -> None:
    written.cryosparc(tmp_path, TRUTH)
    (tmp_path / "job.json").write_text(content)
    if content == "[]":
        assert open_embedding(tmp_path).tool == "cryoSPARC"
        return
    with pytest.raises(ValueError, match=r"job\.json: not the description of a job"):
        open_embedding(tmp_path)


XMIPP = """# XMIPP_STAR_1 *
#
data_noname
loop_
 _image
 _angleRot
 _angleTilt
 _anglePsi
 _delta_angle_rot
 _nmaDisplacements
"""


def test_metadata_as_xmipp_itself_writes_it(tmp_path: Path) -> None:
    rows = (
        f"{name} {' '.join(map(str, angles))} 0.1 ' {' '.join(map(str, z))} '\n"
        for name, angles, z in zip(TRUTH.names, TRUTH.euler, TRUTH.latents, strict=True)
    )
    (tmp_path / "images.xmd").write_text(XMIPP + "".join(rows))
    found = open_embedding(tmp_path)
    assert found.tool == "HEMNMA"
    np.testing.assert_allclose(found.latents, TRUTH.latents, rtol=1e-5)
    assert found.poses is not None
    np.testing.assert_allclose(found.poses.rotation, TRUTH.rotation, atol=1e-5)


def test_metadata_without_latents_beside_those_with_some(tmp_path: Path) -> None:
    written.zernike(tmp_path, TRUTH)
    starfile.write(pd.DataFrame({"image": TRUTH.names}), tmp_path / "input.xmd")
    assert open_embedding(tmp_path).source.name == "particles.xmd"
    written.hetsiren(tmp_path, TRUTH)
    (tmp_path / "predicted_latents.xmd").rename(tmp_path / "predicted_latents.star")
    assert open_embedding(tmp_path).tool == "HetSIREN"
    shutil.copy(tmp_path / "particles.xmd", tmp_path / "more.xmd")
    (tmp_path / "predicted_latents.star").unlink()
    with pytest.raises(ValueError, match=r"several files of latents, name one: more\.xmd, part"):
        open_embedding(tmp_path)


@pytest.mark.parametrize("rows", [None, np.arange(COUNT) + 7, 3 * np.arange(COUNT)[::-1]])
def test_tables_of_eman2_with_and_without_rows(
    rows: npt.NDArray[Any] | None, tmp_path: Path
) -> None:
    columns = TRUTH.latents if rows is None else np.c_[rows, TRUTH.latents]
    np.savetxt(tmp_path / "mid_00.txt", columns)
    found = open_embedding(tmp_path)
    np.testing.assert_allclose(found.latents, TRUTH.latents, rtol=1e-6)
    np.testing.assert_array_equal(found.rows, np.arange(COUNT) if rows is None else rows)


def test_halves_of_eman2_are_named(tmp_path: Path) -> None:
    for half in ("even", "odd"):
        np.savetxt(tmp_path / f"mid_00_{half}.txt", np.c_[np.arange(COUNT), TRUTH.latents])
    with pytest.raises(ValueError, match=r"name one by --z: mid_00_even\.txt, mid_00_odd\.txt"):
        open_embedding(tmp_path)
    assert open_embedding(tmp_path, "mid_00_odd.txt").source.name == "mid_00_odd.txt"


def test_tables_with_a_header_name_their_particles(tmp_path: Path) -> None:
    table = pd.DataFrame({"uid": TRUTH.uids, "a": TRUTH.latents[:, 0], "b": TRUTH.latents[:, 1]})
    table.insert(1, "rlnImageName", TRUTH.names)
    table.to_csv(tmp_path / "z.csv")
    found = open_embedding(tmp_path / "z.csv")
    assert found.coordinates == ("a", "b")
    np.testing.assert_allclose(found.latents, TRUTH.latents[:, :2], rtol=1e-6)
    np.testing.assert_array_equal(found.uids, TRUTH.uids)
    np.testing.assert_array_equal(found.image_names, TRUTH.names)
    np.testing.assert_array_equal(found.rows, np.arange(COUNT))
    np.savez(tmp_path / "z.npz", z=TRUTH.latents, uid=TRUTH.uids)
    np.testing.assert_array_equal(open_embedding(tmp_path / "z.npz").uids, TRUTH.uids)


@pytest.mark.parametrize(
    "spell",
    [
        lambda number: f"{number:06d}@Extract/job7/stack.mrcs",
        lambda number: f"{number}@stack.mrcs:mrcs",
        lambda number: f"{number:08d}@J3/imported/001234567890123456789_stack.mrc",
    ],
)
def test_restacked_particles_are_matched_by_name_however_it_is_spelt(
    spell: Callable[[int], str], tmp_path: Path
) -> None:
    written.hetsiren(tmp_path, TRUTH)
    names = [spell(row + 1) for row in ORDER]
    starfile.write({"particles": pd.DataFrame({"rlnImageName": names})}, tmp_path / "p.star")
    table = open_particle_table(tmp_path / "p.star")
    rows = rows_in_table(open_embedding(tmp_path), table)
    np.testing.assert_array_equal(ORDER[rows], np.arange(COUNT))


def test_counts_that_agree_prove_nothing(tmp_path: Path) -> None:
    written.hetsiren(tmp_path, TRUTH)
    names = [f"{row + 2:06d}@stack.mrcs" for row in range(COUNT)]
    starfile.write({"particles": pd.DataFrame({"rlnImageName": names})}, tmp_path / "p.star")
    with pytest.raises(ValueError, match=r"1 of 40 particles .* the first: 1@stack\.mrcs \(row 1"):
        rows_in_table(open_embedding(tmp_path), open_particle_table(tmp_path / "p.star"))


def test_mu_of_opus_is_read_whatever_else_the_file_holds(tmp_path: Path) -> None:
    means = torch.from_numpy(TRUTH.latents)
    neighbours = [np.arange(3), *([np.array([], np.int64)] * (COUNT - 1))]
    torch.save({"mu": means, "nn": neighbours}, tmp_path / "z.3.pkl")
    np.testing.assert_array_equal(open_embedding(tmp_path).latents, TRUTH.latents)
    with pytest.raises(ValueError, match="no multi_mu, found mu, nn"):
        open_embedding(tmp_path, "multi_mu")
