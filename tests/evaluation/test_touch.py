"""Particles on a page are zoomed, coloured, drawn round, and taken back by `select`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import mrcfile
import numpy as np
import numpy.typing as npt
import pytest
import starfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.drawing.scatter import ScatterColumn, ScatterData
from cryo_disentangle.embeddings import open_embedding
from cryo_disentangle.evaluation.command import evaluate_command
from cryo_disentangle.evaluation.html_page import SCATTER
from cryo_disentangle.evaluation.scattering import scatter_particles
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.selection.command import select_command
from cryo_disentangle.selection.lasso import read_lasso, write_lasso
from cryo_disentangle.selection.particle_table import open_particle_table
from tests import browser
from tests.embeddings import written
from tests.embeddings.written import COUNT, truth


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_rounding_an_axis_moves_nothing_that_is_seen(values: list[float]) -> None:
    x = np.array(values)
    width = float(np.ptp(x)) or 1.0
    assert (
        np.abs(ScatterColumn.axis(x).values() - x).max()
        <= width / 65535 + 1e-6 * abs(x).max() + 1e-30
    )


def test_colours_are_kept_apart_and_ends_are_told() -> None:
    column = ScatterColumn.colour(np.array([0.0, 5.0, 10.0]))
    assert column.codes[0] == 0
    assert column.codes[2] == 255
    assert ScatterColumn.colour(np.array([-180.0, 0.0]), "cyclic").ends() == ("-180", "180")
    groups = ScatterColumn.colour(np.array([0, 255, 257]), "category")
    assert groups.codes.tolist() == [0, 255, 1]
    assert groups.ends() == ("", "")


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    axis, colour = ScatterColumn.axis(np.arange(5.0)), ScatterColumn.colour(np.arange(5.0))
    images = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    data = ScatterData({"z1": axis}, {"a": colour}, {"latents": "x"}, None, np.arange(2), images)
    data.write(tmp_path / SCATTER)
    found = ScatterData.read(tmp_path / SCATTER)
    np.testing.assert_array_equal(found.axes["z1"].codes, axis.codes)
    np.testing.assert_array_equal(found.images, images)
    assert found.lasso == {"latents": "x"}
    assert found.places is None
    np.savez(tmp_path / "other.npz", x=1)
    with pytest.raises(ValueError, match="particles that `cryo-disentangle evaluate` has written"):
        ScatterData.read(tmp_path / "other.npz")


def test_particles_are_coloured_by_what_is_known() -> None:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(60, 4, generator=generator)
    particles = InferredParticles.of(
        latents,
        torch.zeros(60, 4),
        torch.eye(3).expand(60, 3, 3),
        translation=torch.randn(60, 2, generator=generator),
        temperature=torch.arange(60.0),
    )
    data = scatter_particles(particles, {"optics_group": np.arange(60) % 2}, {}, lambda: None)
    assert list(data.axes) == ["PC1", "PC2", "PC3", "z1", "z2", "z3"]
    expected = {"view: tilt (°)", "shift", "temperature", "optics group"}
    assert {*expected, "outlier score", "uncertainty"} <= set(data.colours)
    assert len(data) == 60
    same = InferredParticles.of(torch.zeros(60, 3))
    assert list(scatter_particles(same, {}, {}, lambda: None).axes) == ["z1", "z2", "z3"]


def test_images_beside_the_particle_file_are_seen_on_hover(tmp_path: Path) -> None:
    t = truth()
    stack = np.zeros((COUNT, 16, 16), np.float32)
    stack[:, 4, 4] = 1
    stack[3, 4, 4] = -1
    with mrcfile.new(tmp_path / "stack.mrcs", data=stack) as file:
        file.set_image_stack()
        file.voxel_size = 1.5
    tables = written.particles(t)
    tables["rlnDetectorPixelSize"], tables["rlnMagnification"] = 1.5, 10000.0
    starfile.write({"particles": tables}, tmp_path / "p.star")
    np.save(tmp_path / "z.npy", t.latents)
    words = [str(tmp_path / "z.npy"), "--particles", str(tmp_path / "p.star"), "--resamples", "0"]
    evaluate_command(words)
    data = ScatterData.read(tmp_path / "z_evaluation" / SCATTER)
    assert data.images.shape == (COUNT, 16, 16)
    assert data.pictured.tolist() == list(range(COUNT))
    assert int(data.images[2, 4, 4]) > int(data.images[3, 4, 4])


def test_a_page_without_bokeh_has_pictures_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cryo_disentangle.evaluation.html_page.can_be_touched", lambda: False)
    np.save(tmp_path / "z.npy", truth().latents)
    evaluate_command([str(tmp_path / "z.npy"), "--resamples", "0"])
    page = (tmp_path / "z_evaluation/report.html").read_text()
    assert "<script" not in page
    assert "data:image/png" in page


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """Latents of two clusters with a particle file, evaluated."""
    pytest.importorskip("bokeh", reason="the extra `pages` is not installed")
    t = truth()
    latents = t.latents.copy()
    latents[:, 0] += np.where(np.arange(COUNT) < 15, -30, 30)
    np.savez(tmp_path / "z.npz", latents=latents, row=np.arange(COUNT)[::-1])
    starfile.write({"particles": written.particles(t)}, tmp_path / "p.star")
    words = [str(tmp_path / "z.npz"), "--particles", str(tmp_path / "p.star"), "--resamples", "0"]
    evaluate_command(words)
    return tmp_path


def test_the_page_needs_no_network(evaluated: Path) -> None:
    page = (evaluated / "z_evaluation/report.html").read_text()
    # What would be fetched: scripts and styles from elsewhere.
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=.(https?:)?//", page)
    assert "lasso" in page


def test_a_lasso_that_is_drawn_is_taken_back(evaluated: Path) -> None:
    lasso = evaluated / "lasso.json"
    with browser.opened(evaluated / "z_evaluation/report.html", evaluated) as page:
        browser.save_left_part(page, 0.4, lasso)
    positions = json.loads(lasso.read_text())["positions"]
    _same_as_written(evaluated, positions)
    select_command(
        [
            str(evaluated / "z.npz"),
            *("--particles", str(evaluated / "p.star"), "--lasso", str(lasso)),
            *("--out", str(evaluated / "drawn.star")),
        ]
    )
    drawn = starfile.read(evaluated / "drawn.star")
    # Rows count backwards in the file.
    assert len(drawn) == len(positions) == 15
    assert list(drawn["rlnImageName"]) == truth().names[COUNT - 15 :]


def _same_as_written(folder: Path, positions: list[int]) -> None:
    """A page saves what `write_lasso` writes."""
    embedding, table = open_embedding(folder / "z.npz"), open_particle_table(folder / "p.star")
    write_lasso(folder / "written.json", positions, embedding, table)
    saved = json.loads((folder / "lasso.json").read_text())
    assert saved == json.loads((folder / "written.json").read_text())
    chosen: npt.NDArray[np.bool_] = read_lasso(folder / "lasso.json", embedding, table)
    assert np.flatnonzero(chosen).tolist() == positions
