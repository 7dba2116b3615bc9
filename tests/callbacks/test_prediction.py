"""What a prediction writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cryo_disentangle.callbacks import PredictionWriter


def test_a_negative_number_of_volumes_is_refused() -> None:
    with pytest.raises(ValueError, match="kmeans must not be negative, found -1"):
        PredictionWriter(kmeans=-1)


def test_latents_are_kept_without_their_graph(tmp_path: Path) -> None:
    writer = PredictionWriter(tmp_path)
    mean = torch.ones(2, 3, requires_grad=True)
    writer.on_predict_batch_end(None, None, {"mean": mean * 2}, None, 0)  # type: ignore[arg-type]
    assert not writer._rows.columns()["mean"].requires_grad
