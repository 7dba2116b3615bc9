"""Particles on a page are zoomed, coloured, drawn round, and taken back by `select`."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from tests.embeddings import written
from tests.embeddings.written import COUNT, truth

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")


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


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    """Headless Chromium that saves into the test's folder."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("there is no Chromium with its driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1200,1000")
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path)})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=DRIVER)
    )
    yield driver
    driver.quit()


def _until(found: Any, seconds: float = 120) -> Any:
    """Waits until something is there."""
    end = time.monotonic() + seconds
    while not (value := found()) and time.monotonic() < end:
        time.sleep(0.1)
    return value


def test_a_lasso_that_is_drawn_is_taken_back(evaluated: Path, browser: Any) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    browser.get((evaluated / "z_evaluation/report.html").as_uri())
    assert _until(lambda: browser.execute_script("return Bokeh.documents[0]?.is_idle === true")), (
        "the page does not come to rest"
    )
    x, y, width, height = _inner_frame(browser)
    drag = ActionChains(browser, duration=20)
    drag.w3c_actions.pointer_action.move_to_location(round(x + width * 0.01), round(y + 3))
    drag.w3c_actions.pointer_action.pointer_down()
    ends = [(0.4, 0.01), (0.4, 0.99), (0.01, 0.99), (0.01, 0.02)]
    for across, down in ends:
        for step in (0.5, 1.0):
            place = (round(x + width * across * step), round(y + height * down))
            drag.w3c_actions.pointer_action.move_to_location(*place)
    drag.w3c_actions.pointer_action.pointer_up()
    drag.perform()
    _click_save(browser)
    lasso = evaluated / "lasso.json"
    assert _until(lasso.is_file), "no file was saved"
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


def _inner_frame(browser: Any) -> tuple[float, float, float, float]:
    """Place of the plot's frame in the window, in pixels: left, top, width, height."""
    script = """
    const plot = Bokeh.documents[0].get_model_by_name("particles");
    const view = Bokeh.index.find_one(plot);
    view.el.scrollIntoView({block: "center"});
    const box = view.el.getBoundingClientRect(), frame = view.frame.bbox;
    return [box.left + frame.left, box.top + frame.top, frame.width, frame.height];
    """
    found: list[float] = browser.execute_script(script)
    return (found[0], found[1], found[2], found[3])


def _click_save(browser: Any) -> None:
    """Clicks the button, which lies within roots of shadow."""
    browser.execute_script("""
    const find = (root) => { for (const el of root.querySelectorAll("*")) {
      if (el.tagName === "BUTTON" && el.textContent.includes("Save the lasso")) return el;
      const inner = el.shadowRoot ? find(el.shadowRoot) : null;
      if (inner) return inner; } return null; };
    find(document).click();
    """)
