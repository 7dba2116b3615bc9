"""Runs of cryoDRGN judged by statistics in their decoder's volumes, and taken as subspaces."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from cryo_disentangle.cli import main
from cryo_disentangle.evaluation import open_run
from cryo_disentangle.evaluation.by_statistics import volumes_of_run
from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.particles.ctf import CtfOverrides
from cryo_disentangle.statistics import StatisticsFolder
from tests.helpers import shared
from tests.interop import runs


def test_a_run_of_cryodrgn_is_judged_and_spanned(tmp_path: Path) -> None:
    run = runs.golden_run(tmp_path)
    words = ["--inference", "statistics", "--sample", "12", "--resamples", "0", "--device", "cpu"]
    main(["evaluate", str(run), "--out", str(tmp_path / "seen"), *words])
    facts = json.loads((tmp_path / "seen/metrics.json").read_text())["run"]
    assert facts["inference"] == "statistics"
    assert "volumes that span the decoder's" in facts["z"]
    kept = StatisticsFolder.open(tmp_path / "seen/statistics")
    assert facts["z"].startswith(f"coefficients of {kept.statistics.rank} ")

    data = shared("golden/cryodrgn/dataset")
    files = [f"--{name}={data / name}.pkl" for name in ("poses", "ctf")]
    words = [str(data / "particles.mrcs"), *files, f"--run={run}", f"--out={tmp_path / 'out'}"]
    main(["statistics", *words, "--device", "cpu"])
    found = StatisticsFolder.open(tmp_path / "out").statistics
    for name in ("precision", "information"):
        torch.testing.assert_close(
            getattr(found, name), getattr(kept.statistics, name), rtol=1e-3, atol=1e-3
        )


def test_particles_of_another_pixel_size_are_refused(tmp_path: Path) -> None:
    data, run = shared("golden/cryodrgn/dataset"), open_run(runs.golden_run(tmp_path))
    stack = ParticleStack.open(
        data / "particles.mrcs", ctf=data / "ctf.pkl", optics=CtfOverrides(pixel_size=9.0)
    )
    with pytest.raises(ValueError, match=r"volumes of \d+ pixels of .* Å, and .* has \d+ of 18 Å"):
        volumes_of_run(run, stack, device=torch.device("cpu"))
