"""Pictures of latent spaces of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.drawing.latent_space import (
    draw_correlations,
    draw_drift,
    draw_metrics,
    draw_traversals,
)
from cryo_disentangle.drawing.reconstructions import (
    draw_curves,
    draw_images,
    draw_latents,
    draw_volumes,
)
from cryo_disentangle.drawing.style import CIRCLE, SCALE
from tests import tiny


def test_no_metric_no_picture() -> None:
    with pytest.raises(ValueError, match="no metric is logged yet"):
        draw_metrics({}, {})


@settings(max_examples=4)
@given(st.integers(1, 8), st.integers(1, 4), st.integers(0, 99))
def test_any_shape_can_be_drawn(latents: int, factors: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((30, latents))
    names = [f"angle {k}" for k in range(factors)]
    colours = rng.uniform(-180, 180, (30, factors))
    figure = draw_latents(z, colours, names, cyclic=names[:1], title="Title")
    assert len(figure.axes) == 2 * factors
    size = min(latents, factors)
    matrix = rng.uniform(-1, 1, (latents, factors))
    figure = draw_correlations(matrix, [(k, k) for k in range(size)], names)
    assert len(figure.axes[0].patches) == size
    drift = rng.uniform(0, 2, (5, latents))
    figure = draw_drift(np.arange(5) * 90.0, drift, drift.mean(1), 0.3)
    top = figure.axes[0].get_ylim()[1]
    assert top > min(drift.max(), 3)
    curves = {f"val/{k}": {e: float(e) for e in range(1, 4)} for k in range(factors)}
    assert len(draw_metrics(curves | {"train/0": {1: 0.5}}, {}).axes) == factors
    group = {f"rotation/{k}_normalized": {1: float(k)} for k in range(factors)}
    group_axes = draw_metrics({}, {"Title": group, "empty": {}}).axes
    assert len(group_axes) == 1
    labels = [line.get_label() for line in group_axes[0].lines]
    assert labels == (
        [str(k) for k in range(factors)] if factors > 1 else ["rotation 0 normalized"]
    )
    marked = draw_metrics({}, {"Title": group}, {"Title": 1.0, "other": 2.0}).axes[0].lines[-1]
    assert (marked.get_label(), np.asarray(marked.get_ydata()).tolist()) == ("chance", [1.0, 1.0])
    images, values = rng.random((latents, 3, 8, 8)), rng.random((latents, 3))
    figure = draw_traversals(images, values, (5.0, 95.0), tiny.PIXEL_SIZE)
    assert len(figure.axes) == 2 * 3 * latents


def test_lines_that_leave_the_panel_are_told() -> None:
    angles = np.array([0.0, 180.0, 360.0])
    far = np.array([[0.0, 0.1], [0.2, 40.0], [0.0, 0.1]])
    axes = draw_drift(angles, far, far[:, 0], 0.3).axes[0]
    assert axes.get_ylim()[1] < 4
    assert [text.get_text() for text in axes.texts] == ["off scale, up to 40"]
    near = draw_drift(angles, far[:, :1], far[:, 0], 0.3).axes[0]
    assert near.get_ylim()[1] > 1
    assert not near.texts
    loss = draw_curves([1, 2, 3, 4], [900.0, 1.2, 1.1, 1.0], [np.nan] * 4).axes[0]
    assert loss.get_ylim()[1] < 5
    assert [text.get_text() for text in loss.texts] == ["off scale, up to 900"]
    falling = draw_curves([1, 2, 3], [-1.0, -50.0, -60.0], [np.nan] * 3).axes[0]
    assert falling.get_ylim()[0] < -60


def test_angles_of_a_full_turn_have_a_colour_that_is_seen_on_white() -> None:
    colours = CIRCLE(np.linspace(0, 1, 64))[:, :3]
    assert np.allclose(CIRCLE(0.0), CIRCLE(1.0), atol=0.02)
    for shades in (colours, SCALE(np.linspace(0, 1, 64))[:, :3]):
        linear = np.where(shades <= 0.04045, shades / 12.92, ((shades + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        # WCAG's contrast with white; yellow has 1.07.
        assert (1.05 / (luminance + 0.05)).min() > 1.5


def test_the_first_of_the_two_widest_coordinates_is_on_x() -> None:
    z = np.random.default_rng(0).standard_normal((50, 4)) * [0.1, 1, 0.1, 3]
    figure = draw_latents(z, z[:, :1], ["colour"], z[:3])
    assert (figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()) == ("z2", "z4")
    assert [text.get_text() for text in figure.axes[0].texts] == ["1", "2", "3"]
    assert "volumes.png" in figure.get_supxlabel()


def test_reconstructions_show_what_is_left_and_how_well_they_fit() -> None:
    image = np.random.default_rng(0).random((2, 8, 8))
    figure = draw_images(image, np.stack([image[0], np.zeros((8, 8))]), None)
    assert [axes.get_xlabel() for axes in figure.axes[4:]] == ["r = 1.00", "r = 0.00"]
    assert not figure.axes[0].lines
    volumes = np.random.default_rng(1).random((3, 8, 8, 8))
    rows = [axes.get_ylabel() for axes in draw_volumes(volumes, 2.0).axes[::3]]
    assert rows == ["along z", "− mean", "along y", "− mean"]


@settings(max_examples=12)
@given(st.floats(0.01, 1e4), st.integers(2, 512))
def test_a_scale_bar_is_round_and_a_good_part_of_the_image(pixel_size: float, side: int) -> None:
    figure = draw_traversals(np.zeros((1, 2, side, side)), np.zeros((1, 2)), (5, 95), pixel_size)
    bar, label = figure.axes[0].lines[0], figure.axes[0].texts[0].get_text()
    length = float(np.ptp(np.asarray(bar.get_xdata(), float))) * pixel_size
    assert 0.1 <= length / (side * pixel_size) <= 1 / 3 + 1e-9
    number = float(label.removesuffix(" Å"))
    assert number == pytest.approx(length, rel=1e-5)
    assert f"{number:e}"[0] in "125"
