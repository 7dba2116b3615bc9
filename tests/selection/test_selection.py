"""Sets of particles are written from the user's own file, byte for byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import starfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.particles.pickles import read_indices
from cryo_disentangle.selection.choices import cluster_labels, nearest_to_path, outlier_scores
from cryo_disentangle.selection.command import select_command
from cryo_disentangle.selection.description import micrograph_shares, view_share
from cryo_disentangle.selection.joining import rows_in_table
from cryo_disentangle.selection.lasso import write_lasso
from cryo_disentangle.selection.particle_table import open_particle_table

COUNT = 60
HEAD = """
# version 30001

data_optics

loop_
_rlnOpticsGroup #1
_rlnVoltage #2
           1   300.000000

data_particles

loop_
_rlnImageName #1
_rlnAngleRot #2
_rlnAngleTilt #3
_rlnAnglePsi #4
_rlnMicrographName #5
_userNote #6
"""


@pytest.fixture
def latents() -> npt.NDArray[Any]:
    generator = np.random.default_rng(0)
    return generator.normal(size=(COUNT, 2)) + np.where(np.arange(COUNT) < 40, -4, 4)[:, None]


@pytest.fixture
def rows() -> list[str]:
    angles = Rotation.random(COUNT, random_state=0).inv().as_euler("ZYZ", degrees=True)
    return [
        f"{row + 1:06d}@stack.mrcs {rot:12.6f} {tilt:12.6f} {psi:12.6f}   m{row % 3}.mrc 'a  b' \n"
        for row, (rot, tilt, psi) in enumerate(angles)
    ]


@pytest.fixture
def star(tmp_path: Path, rows: list[str]) -> Path:
    path = tmp_path / "particles.star"
    path.write_text(HEAD + "".join(rows) + "\n# the end\n")
    return path


@pytest.fixture
def run(tmp_path: Path, latents: npt.NDArray[Any]) -> Path:
    np.save(tmp_path / "z.npy", latents)
    return tmp_path / "z.npy"


def select(run: Path, star: Path, out: Path, *words: str) -> None:
    select_command([str(run), "--particles", str(star), "--out", str(out), *words])


def test_chosen_rows_are_copied_byte_for_byte(
    run: Path, star: Path, rows: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set.star"
    select(run, star, out, "--kmeans", "2", "--clusters", "1")
    assert out.read_text() == HEAD + "".join(rows[40:]) + "\n# the end\n"
    said = capsys.readouterr().out
    assert "20 of 60 particles" in said
    assert "seen from the same directions" in said
    assert "Micrographs" in said


def test_what_is_written_is_read_by_others(run: Path, star: Path, tmp_path: Path) -> None:
    select(run, star, tmp_path / "set.star", "--kmeans", "2", "--clusters", "1")
    tables = starfile.read(tmp_path / "set.star")
    assert tables["particles"]["rlnImageName"].iloc[0] == "000041@stack.mrcs"
    assert len(tables["particles"]) == 20
    assert tables["optics"]["rlnVoltage"].item() == 300


def test_complement_and_union_give_all_particles_back(
    run: Path, star: Path, tmp_path: Path
) -> None:
    first, rest, union, both = (tmp_path / f"{name}.star" for name in "abcd")
    words = ("--kmeans", "2", "--clusters", "1")
    select(run, star, first, *words)
    select(run, star, rest, *words, "--complement")
    select(run, star, union, *words, "--add", str(rest))
    assert union.read_bytes() == star.read_bytes()
    with pytest.raises(ValueError, match="no particle is left"):
        select(run, star, both, *words, "--keep-in", str(rest))
    assert not both.exists()


@pytest.mark.parametrize("suffix", [".pkl", ".npy", ".txt"])
def test_indices_count_in_the_particle_file(
    suffix: str, run: Path, star: Path, tmp_path: Path
) -> None:
    out = tmp_path / f"set{suffix}"
    select(run, star, out, "--axis", "1", "--min", "0")
    np.testing.assert_array_equal(read_indices(out), np.arange(40, COUNT))
    again = tmp_path / "again.star"
    select(run, star, again, "--rows", str(out))
    assert len(starfile.read(again)["particles"]) == 20


def cs_table(count: int = COUNT) -> npt.NDArray[Any]:
    fields: list[Any] = [
        ("uid", "<u8"),
        ("blob/path", "S20"),
        ("blob/idx", "<u4"),
        ("alignments3D/pose", "<f4", (3,)),
        ("other", "<f4", (4, 4)),
    ]
    table = np.zeros(count, fields)
    table["uid"] = np.random.default_rng(1).permutation(count) + 10**12
    table["blob/path"], table["blob/idx"] = b"J1/stack.mrcs", np.arange(count)
    table["alignments3D/pose"] = Rotation.random(count, random_state=0).as_rotvec()
    table["other"] = np.random.default_rng(2).normal(size=(count, 4, 4))
    return table


def save_cs(path: Path, table: npt.NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, table)


def test_rows_of_cryosparc_keep_all_fields_and_are_joined_by_uid(
    tmp_path: Path, latents: npt.NDArray[Any]
) -> None:
    table = cs_table()
    save_cs(tmp_path / "particles.cs", table)
    job = tmp_path / "job"
    job.mkdir()
    modes = np.zeros(
        COUNT, [("uid", "<u8"), *((f"components_mode_{k}/value", "<f4") for k in "01")]
    )
    order = np.random.default_rng(3).permutation(COUNT)
    modes["uid"] = table["uid"][order]
    for k in range(2):
        modes[f"components_mode_{k}/value"] = latents[order, k]
    save_cs(job / "J2_particles.cs", modes)
    out = tmp_path / "set.cs"
    select(job, tmp_path / "particles.cs", out, "--axis", "1", "--min", "0")
    kept = np.load(out)
    assert kept.dtype == table.dtype
    np.testing.assert_array_equal(kept, table[40:])


def test_particles_that_are_not_in_the_file_are_counted_and_named(
    tmp_path: Path, latents: npt.NDArray[Any]
) -> None:
    table = cs_table()
    job = tmp_path / "job"
    job.mkdir()
    modes = np.zeros(COUNT, [("uid", "<u8"), ("components_mode_0/value", "<f4")])
    modes["uid"], modes["components_mode_0/value"] = table["uid"], latents[:, 0]
    save_cs(job / "J2_particles.cs", modes)
    save_cs(tmp_path / "particles.cs", table[:50])
    out = tmp_path / "set.cs"
    with pytest.raises(ValueError, match=r"10 of 60 particles .* by uid, the first: \d+, \d+, \d+"):
        select(job, tmp_path / "particles.cs", out, "--axis", "1")
    table["uid"][3] = table["uid"][7]
    save_cs(tmp_path / "particles.cs", table)
    with pytest.raises(ValueError, match="rows 4 and 8 have the same uid"):
        select(job, tmp_path / "particles.cs", out, "--axis", "1")
    assert not out.exists()


def test_rows_beyond_the_file_are_refused(star: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "z.npz", z=np.zeros((2, 1)), row=[3, 90])
    table = open_particle_table(star)
    with pytest.raises(ValueError, match="1 of 2 particles lie beyond the 60 rows"):
        rows_in_table(open_embedding(tmp_path / "z.npz"), table)
    np.savez(tmp_path / "z.npz", z=np.zeros((2, 1)), row=[3, 3])
    with pytest.raises(ValueError, match="two latents belong to the same row"):
        rows_in_table(open_embedding(tmp_path / "z.npz"), table)


def test_a_lasso_selects_what_was_drawn(
    run: Path, star: Path, rows: list[str], tmp_path: Path
) -> None:
    lasso, out = tmp_path / "lasso.json", tmp_path / "set.star"
    write_lasso(lasso, [5, 2], open_embedding(run), open_particle_table(star))
    select(run, star, out, "--lasso", str(lasso))
    assert out.read_text() == HEAD + rows[2] + rows[5] + "\n# the end\n"


def test_a_lasso_of_another_run_or_of_a_changed_file_is_refused(
    run: Path, star: Path, latents: npt.NDArray[Any], tmp_path: Path
) -> None:
    lasso, out = tmp_path / "lasso.json", tmp_path / "set.star"
    write_lasso(lasso, [5, 2], open_embedding(run), open_particle_table(star))
    star.write_text(star.read_text().replace("000003@", "000093@"))
    with pytest.raises(ValueError, match="has changed since this lasso was drawn"):
        select(run, star, out, "--lasso", str(lasso))
    np.save(run, latents + 1)
    with pytest.raises(ValueError, match="was drawn on other latents"):
        select(run, star, out, "--lasso", str(lasso))
    lasso.write_text(json.dumps({"format": "other"}))
    with pytest.raises(ValueError, match="not a lasso that a page has saved"):
        select(run, star, out, "--lasso", str(lasso))
    lasso.write_text("{")
    with pytest.raises(ValueError, match="not a lasso that a page has saved"):
        select(run, star, out, "--lasso", str(lasso))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "in one way of --kmeans"),
        (("--axis", "1", "--outliers", "3"), "found 2"),
        (("--axis", "3"), "--axis: expected 1 to 2, found 3"),
        (("--axis", "1", "--min", "2", "--max", "1"), "from a smaller to a larger"),
        (("--near", "0,0"), "give --count"),
        (("--near", "0", "--count", "3"), "a point has 2 coordinates"),
        (("--near", "a", "--count", "3"), "expected numbers with commas"),
        (("--near", "0,0", "--count", "99"), "between 1 and 60 particles"),
        (("--kmeans", "2"), "expected some of 0 to 1, found none"),
        (("--kmeans", "99", "--clusters", "0"), "cannot be divided into 99"),
    ],
)
def test_wrong_options(
    words: tuple[str, ...], message: str, run: Path, star: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set.star"
    with pytest.raises(ValueError, match=message):
        select(run, star, out, *words)
    assert not out.exists()


def test_the_particle_file_is_never_overwritten(run: Path, star: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is the particle file itself"):
        select(run, star, star, "--axis", "1")
    with pytest.raises(ValueError, match=r"expected a file \.star"):
        select(run, star, tmp_path / "set.cs", "--axis", "1")


def test_rows_of_several_lines_are_refused(run: Path, star: Path, tmp_path: Path) -> None:
    star.write_text(star.read_text().replace("   m2.mrc", "\n m2.mrc", 1))
    with pytest.raises(ValueError, match="row 3 of data_particles has 4 values on its line"):
        select(run, star, tmp_path / "set.star", "--axis", "1")
    assert not (tmp_path / "set.star").exists()


def test_a_set_that_is_a_view_is_said_to_be_one() -> None:
    rotation = Rotation.random(4000, random_state=0).as_matrix()
    upper = rotation[:, 2, 2] > 0.3
    found = view_share(upper, rotation)
    assert found.share > 0.5
    assert "a view rather than a state" in found.words
    assert found.counts.sum() == upper.sum()


@settings(max_examples=20)
@given(seed=st.integers(0, 2**31), rate=st.floats(0.05, 0.95))
def test_a_set_drawn_at_random_is_no_view(seed: int, rate: float) -> None:
    generator = np.random.default_rng(seed)
    rotation = Rotation.random(2000, random_state=seed).as_matrix()
    found = view_share(generator.random(2000) < rate, rotation)
    assert found.share < 0.03


def test_a_path_takes_what_lies_along_it() -> None:
    points = np.stack([np.linspace(0, 1, 11), np.zeros(11)], 1)
    points = np.concatenate([points, points + np.array([0, 1])])
    chosen = nearest_to_path(points, np.array([[0, 0.1], [1, 0.1]]), 11)
    np.testing.assert_array_equal(np.flatnonzero(chosen), np.arange(11))


def test_outliers_lie_far_from_all_others() -> None:
    latents = np.random.default_rng(0).normal(size=(300, 3))
    latents[7] = 9
    scores = outlier_scores(latents)
    assert scores.argmax() == 7
    assert np.median(scores) == pytest.approx(1)


@pytest.mark.parametrize("method", ["kmeans", "mixture"])
def test_clusters_are_numbered_by_size(method: Any, latents: npt.NDArray[Any]) -> None:
    labels = cluster_labels(latents, 2, method)
    np.testing.assert_array_equal(labels, (np.arange(COUNT) >= 40).astype(int))


def test_shares_of_micrographs() -> None:
    shares = micrograph_shares(np.array([True, True, False]), np.array(["a", "b", "b"]))
    assert shares == {"a": 1.0, "b": 0.5}


def test_commands_of_the_documentation_run(
    latents: npt.NDArray[Any], star: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    workdir, job = tmp_path / "WORKDIR", tmp_path / "J11"
    workdir.mkdir()
    job.mkdir()
    np.save(workdir / "z.npy", latents)
    write_lasso("lasso.json", [1], open_embedding(workdir), open_particle_table(star))
    table = cs_table()
    save_cs(tmp_path / "J11_passthrough_particles.cs", table)
    modes = np.zeros(COUNT, [("uid", "<u8"), ("components_mode_0/value", "<f4")])
    modes["uid"], modes["components_mode_0/value"] = table["uid"], np.arange(COUNT)
    save_cs(job / "J11_particles.cs", modes)
    page = (Path(__file__).parents[2] / "docs/select.md").read_text()
    for line in page.split("```sh\n")[1].split("```")[0].splitlines():
        words = line.replace("5000", "50").split()
        assert words[:2] == ["cryo-disentangle", "select"]
        select_command(words[2:])
        assert Path(words[-1]).exists()


def test_latents_without_rows_are_not_joined_by_count(
    tmp_path: Path, star: Path, latents: npt.NDArray[Any]
) -> None:
    np.save(tmp_path / "fewer.npy", latents[:-1])
    with pytest.raises(ValueError, match="nothing says which of the 60 rows"):
        rows_in_table(open_embedding(tmp_path / "fewer.npy"), open_particle_table(star))
    unnamed = Embedding("cryoDRGN", tmp_path / "z.pkl", latents)
    with pytest.raises(ValueError, match="does not say which particles its latents are of"):
        rows_in_table(unnamed, open_particle_table(star))
