"""Sets are taken from real particle files byte for byte, whatever order the latents are in."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import starfile

from cryo_disentangle.evaluation.command import evaluate_command
from cryo_disentangle.particles.pickles import read_indices
from cryo_disentangle.selection.command import select_command
from cryo_disentangle.selection.particle_table import open_particle_table
from tests.helpers import shared

DATA = "data/cryodrgn_tests"
STARS = (
    "FinalRefinement-OriginalParticles-PfCRT.star",
    "empiar_10076_7.star",
    "relion31.6opticsgroups.star",
    "relion31.star",
    "relion5.star",
    "sta_testing_bin8.star",
    "toy_projections.star",
)
# Names images twice.
REPEATS = "relion5.star"
TABLES = (
    "cryosparc_J2_particles_exported.cs",
    "cryosparc_P12_J24_001_particles.cs",
    "empiar_10076_7.cs",
)


def latents(folder: Path, particles: Path) -> tuple[Path, npt.NDArray[np.bool_]]:
    """Latents of all particles but one, in another order, and which rows have a z above 0."""
    table = open_particle_table(particles)
    generator = np.random.default_rng(0)
    z = generator.normal(size=(len(table), 2))
    z[0, 0], z[1, 0], z[-1, 0] = 1, -1, 2
    order = generator.permutation(len(table) - 1)
    keys: dict[str, Any] = {"row": order}
    if table.uids is not None:
        keys = {"uid": table.uids[order]}
    elif table.image_names is not None and particles.name != REPEATS:
        keys = {"image_name": table.image_names[order]}
    np.savez(folder / "z.npz", z=z[order], **keys)
    chosen = z[:, 0] > 0
    chosen[-1] = False
    return folder / "z.npz", chosen


def select(run: Path, particles: Path, out: Path, *words: str) -> Path:
    fixed = ("--axis", "1", "--min", "0", "--out", str(out))
    select_command([str(run), "--particles", str(particles), *fixed, *words])
    return out


def body(table: Any) -> pd.DataFrame:
    """Particles of a STAR file as starfile reads them."""
    if isinstance(table, dict):
        return next(part for part in table.values() if "rlnImageName" in part)
    return table


@pytest.mark.parametrize("name", STARS)
def test_rows_of_real_star_files_are_copied_byte_for_byte(name: str, tmp_path: Path) -> None:
    particles = shared(f"{DATA}/{name}")
    run, chosen = latents(tmp_path, particles)
    out = select(run, particles, tmp_path / "set.star")
    lines = particles.read_bytes().splitlines(keepends=True)
    rows = [k for k, line in enumerate(lines) if re.search(rb"(^|\s)\S*@\S", line)]
    assert len(rows) == len(chosen)
    dropped = {row for row, kept in zip(rows, chosen, strict=True) if not kept}
    kept = [line for k, line in enumerate(lines) if k not in dropped]
    assert out.read_bytes() == b"".join(kept)
    whole, some = body(starfile.read(particles)), body(starfile.read(out))
    pd.testing.assert_frame_equal(some, whole[chosen].reset_index(drop=True), check_dtype=False)


def test_a_real_file_that_names_images_twice_is_not_joined_by_name(tmp_path: Path) -> None:
    particles = shared(f"{DATA}/{REPEATS}")
    names = open_particle_table(particles).image_names
    assert names is not None
    np.savez(tmp_path / "z.npz", z=np.zeros((2, 1)), image_name=names[:2])
    with pytest.raises(ValueError, match=r"relion5\.star: rows 1 and 12 have the same image name"):
        select(tmp_path / "z.npz", particles, tmp_path / "set.star")


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_real_cs_files_keep_all_fields(name: str, tmp_path: Path) -> None:
    particles = shared(f"{DATA}/{name}")
    run, chosen = latents(tmp_path, particles)
    kept, whole = np.load(select(run, particles, tmp_path / "set.cs")), np.load(particles)
    assert kept.dtype == whole.dtype
    assert kept.tobytes() == whole[chosen].tobytes()


@pytest.mark.parametrize("name", [STARS[3], TABLES[1]])
def test_a_set_and_its_complement_are_all_that_have_latents(name: str, tmp_path: Path) -> None:
    particles = shared(f"{DATA}/{name}")
    run, chosen = latents(tmp_path, particles)
    suffix = particles.suffix
    first = select(run, particles, tmp_path / f"first{suffix}")
    rest = select(run, particles, tmp_path / "rest.pkl", "--complement")
    assert read_indices(rest).tolist() == np.flatnonzero(~chosen[:-1]).tolist()
    words = ("--complement", "--add", str(first))
    both = select(run, particles, tmp_path / f"both{suffix}", *words)
    assert len(open_particle_table(both)) == len(chosen) - 1


def test_latents_are_judged_with_the_poses_of_a_real_job(tmp_path: Path) -> None:
    particles = shared(f"{DATA}/{TABLES[1]}")
    run, _ = latents(tmp_path, particles)
    words = ("--particles", str(particles), "--resamples", "0", "--sample", "200")
    evaluate_command([str(run), *words, "--out", str(tmp_path / "out")])
    metrics = (tmp_path / "out/metrics.json").read_text()
    for name in ("pose_leak_nonlinear_r2", "shift_leak", "defocus_leak", "micrograph"):
        assert name in metrics


@pytest.mark.parametrize("optics", [False, True])
def test_particles_of_cryodrgns_write_star(optics: bool, tmp_path: Path) -> None:
    """Its files: a date, ``data_`` without a name before RELION 3.1, images by absolute path."""
    names = [f"{row + 1:06d}@{tmp_path}/stack.mrcs" for row in range(30)]
    head = "# Created 2026-11-29 19:00:00.000000\n\n"
    if optics:
        head += "data_optics\n\nloop_\n_rlnOpticsGroup #1\n_rlnVoltage #2\n1 300.0\n\n\n"
    head += f"data_{'particles' if optics else ''}\n\nloop_\n_rlnImageName #1\n_rlnDefocusU #2\n"
    rows = [f"{name} {10000.5 + row}\n" for row, name in enumerate(names)]
    (tmp_path / "p.star").write_text(head + "".join(rows))
    run, chosen = latents(tmp_path, tmp_path / "p.star")
    out = select(run, tmp_path / "p.star", tmp_path / "set.star")
    assert out.read_text() == head + "".join(np.array(rows)[chosen])
    read = body(starfile.read(out))
    assert read["rlnImageName"].tolist() == np.array(names)[chosen].tolist()
