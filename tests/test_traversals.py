"""Paths through latents, the particles that stand for all, and the scripts that play them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.traversals import chimerax_script, representative_latents, traversal_latents


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(2, 50), st.integers(1, 5), st.integers(2, 9))
def test_paths_go_straight_between_percentiles_through_the_median(
    seed: int, count: int, dim: int, steps: int
) -> None:
    means = np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)
    paths = traversal_latents(means, steps, (10, 90))
    assert paths.shape == (dim, steps, dim)
    assert paths.dtype == np.float32
    for k, path in enumerate(paths):
        ends = np.percentile(means[:, k], [10, 90])
        np.testing.assert_allclose(path[[0, -1], k], ends, atol=1e-6)
        step = (ends[1] - ends[0]) / (steps - 1)
        np.testing.assert_allclose(np.diff(path[:, k]), step, atol=1e-5)
        others = np.delete(np.arange(dim), k)
        expected = np.broadcast_to(np.median(means, axis=0)[others], (steps, dim - 1))
        np.testing.assert_allclose(path[:, others], expected, atol=1e-6)


def test_script_opens_one_series_and_plays_it() -> None:
    lines = chimerax_script(["z1_01.mrc", "z1_02.mrc"], 0.25).splitlines()
    commands = [line for line in lines if not line.startswith("#")]
    assert commands == [
        "close",
        "open z1_01.mrc z1_02.mrc vseries true",
        "volume #1 level 0.25 step 1",
        "view",
        "vseries play #1 loop true direction oscillate maxFrameRate 5",
    ]


def test_script_plays_structures_inside_the_volumes() -> None:
    lines = chimerax_script(["z1_01.mrc", "z1_02.mrc"], 0.25, "z1.cif").splitlines()
    assert lines.index("open z1.cif coordsets true") == lines.index("view") - 3
    assert "coordset #2 1,2 loop 1000 bounce true pauseFrames 12" in lines


def normal(seed: int, count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


@settings(max_examples=20)
@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 4), st.data())
def test_representatives_are_rows_in_order_of_the_first_axis(
    seed: int, count: int, dim: int, data: st.DataObject
) -> None:
    latents = normal(seed, count, dim)
    number = data.draw(st.integers(1, count))
    chosen = representative_latents(latents, number)
    assert chosen.shape == (number, dim)
    for row in chosen:
        assert (latents == row).all(axis=1).any()
    spread = chosen - chosen.mean(axis=0)
    axis = np.linalg.svd(spread, full_matrices=False)[2][0]
    along = spread @ (axis * np.sign(axis[np.abs(axis).argmax()]))
    assert (np.diff(along) >= -1e-6).all()
    assert np.array_equal(chosen, representative_latents(latents, number))


def test_each_cluster_has_its_representative() -> None:
    centres = np.array([[-20, 0], [0, 0], [20, 0]], dtype=np.float32)
    latents = np.concatenate([centre + 0.1 * normal(i, 30, 2) for i, centre in enumerate(centres)])
    chosen = representative_latents(latents, 3)
    ordered = chosen if chosen[0, 0] < 0 else chosen[::-1]
    np.testing.assert_allclose(ordered, centres, atol=0.5)


@pytest.mark.parametrize("count", [0, -1, 6])
def test_more_representatives_than_latents_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"between 1 and 5 volumes can be chosen, found {count}"):
        representative_latents(normal(0, 5, 2), count)
