"""Which latents stand for all, and what a prediction writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.callbacks import PredictionWriter
from cryo_disentangle.callbacks.prediction import representative_latents


def normal(seed: int, count: int, dim: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, dim), dtype=np.float32)


@settings(max_examples=20, deadline=None)
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


def test_a_negative_number_of_volumes_is_refused() -> None:
    with pytest.raises(ValueError, match="kmeans must not be negative, found -1"):
        PredictionWriter(kmeans=-1)


def test_latents_are_kept_without_their_graph(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path)
    mean = torch.ones(2, 3, requires_grad=True)
    writer.on_predict_batch_end(None, None, {"mean": mean * 2}, None, 0)  # type: ignore[arg-type]
    assert not writer._parts[0]["mean"].requires_grad
