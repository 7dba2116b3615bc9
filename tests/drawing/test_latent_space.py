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
from cryo_disentangle.drawing.reconstructions import draw_latents
from tests import tiny


def test_no_metric_no_picture() -> None:
    with pytest.raises(ValueError, match="no metric is logged yet"):
        draw_metrics({}, {})


@settings(max_examples=6)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
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
    assert top > drift.max()
    curves = {f"val/{k}": {e: float(e) for e in range(1, 4)} for k in range(factors)}
    assert len(draw_metrics(curves | {"train/0": {1: 0.5}}, {}).axes) == factors
    group = {f"rotation/{k}_normalized": {1: float(k)} for k in range(factors)}
    group_axes = draw_metrics({}, {"Title": group, "empty": {}}).axes
    assert len(group_axes) == 1
    labels = [line.get_label() for line in group_axes[0].lines]
    assert labels == (
        [str(k) for k in range(factors)] if factors > 1 else ["rotation 0 normalized"]
    )
    images, values = rng.random((latents, 3, 8, 8)), rng.random((latents, 3))
    figure = draw_traversals(images, values, (5.0, 95.0), tiny.PIXEL_SIZE)
    assert len(figure.axes) == 3 * latents


@settings(max_examples=20)
@given(st.floats(0.01, 1e4), st.integers(2, 512))
def test_a_scale_bar_is_round_and_a_good_part_of_the_image(pixel_size: float, side: int) -> None:
    figure = draw_traversals(np.zeros((1, 2, side, side)), np.zeros((1, 2)), (5, 95), pixel_size)
    bar, label = figure.axes[0].lines[0], figure.axes[0].texts[0].get_text()
    length = float(np.ptp(np.asarray(bar.get_xdata(), float))) * pixel_size
    assert 0.1 <= length / (side * pixel_size) <= 1 / 3 + 1e-9
    number = float(label.removesuffix(" Å"))
    assert number == pytest.approx(length, rel=1e-5)
    assert f"{number:e}"[0] in "125"
