"""`axes` asks the model of a run on images for latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.cli import main
from cryo_disentangle.evaluation.own_latents import open_latents
from tests.evaluation.conftest import COUNT


def test_latents_of_a_run_of_images_come_with_rows_and_covariances(finished: Path) -> None:
    embedding, labels = open_latents(finished / "run")
    assert embedding.tool == "cryo-disentangle"
    assert embedding.covariance is not None
    assert embedding.covariance.shape == (COUNT, 2, 2)
    np.testing.assert_array_equal(embedding.rows, np.arange(COUNT))
    assert labels.time is None


def test_a_run_that_learned_nothing_has_no_axes(finished: Path, tmp_path: Path) -> None:
    words = ["axes", str(finished / "run"), "--by", "principal", "--out", str(tmp_path)]
    with pytest.raises(SystemExit, match="noise explains all of the spread of the latents along"):
        main(words)
