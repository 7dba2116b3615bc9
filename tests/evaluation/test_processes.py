"""`evaluate` over two processes, each of which infers its own particles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cryo_disentangle.cli import main
from tests.forked import together


@pytest.mark.parametrize("inference", ["run", "statistics"])
def test_two_processes_find_what_one_finds(finished: Path, tmp_path: Path, inference: str) -> None:
    words = ["evaluate", str(finished / "run"), "--inference", inference, "--resamples", "0"]
    words += ["--sample", "20", "--states", "0", "--device", "cpu"]
    main([*words, "--out", str(tmp_path / "one")])
    first, second = together(main, [*words, "--out", str(tmp_path / "two")])
    assert first.count("Report: ") == 1
    assert "Report: " not in second
    one, two = (tmp_path / name for name in ("one", "two"))
    with np.load(one / "latents.npz") as mine, np.load(two / "latents.npz") as theirs:
        np.testing.assert_allclose(theirs["latents"], mine["latents"], atol=1e-5)
        np.testing.assert_array_equal(theirs["row"], mine["row"])
    found, expected = (json.loads((out / "metrics.json").read_text()) for out in (two, one))
    leak = "pose_leak"
    assert found["scores"][leak].keys() == expected["scores"][leak].keys()
    assert found["verdict"] == expected["verdict"]
