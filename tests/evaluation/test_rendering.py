"""Finished runs whose conformations are found by rendering: evaluated and exported."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.cli import main
from cryo_disentangle.encoders import RenderedPosterior
from cryo_disentangle.evaluation import open_run
from cryo_disentangle.evaluation.rendering import fit_plan, infer_by_rendering, plan_rendering
from cryo_disentangle.interop import CryoDRGNRun
from cryo_disentangle.judgement.advice import next_steps
from cryo_disentangle.judgement.verdict import Verdict
from tests.interop import runs


def latents(path: Path) -> list[np.ndarray]:
    """Means and log-variances of a ``z.pkl``."""
    with path.open("rb") as file:
        return [np.asarray(pickle.load(file)) for _ in range(2)]


def test_the_decoder_is_the_runs_and_the_prior_as_wide_as_its_latents(tmp_path: Path) -> None:
    run = open_run(runs.golden_run(tmp_path))
    found = infer_by_rendering(run, radius=6)
    posterior = found.module.encoder
    assert isinstance(posterior, RenderedPosterior)
    assert found.renders
    assert not run.renders
    assert found.module.decoder is run.module.decoder
    batch = next(iter(run.data.predict_dataloader()))
    with torch.no_grad():
        before, after = run.module.infer(batch), found.module.infer(batch)  # type: ignore[operator]
    total = before.mean.var(0) + before.log_variance.exp().mean(0)
    torch.testing.assert_close(posterior.prior_std.square(), total, rtol=0.5, atol=0)
    assert float(posterior.noise_variance) != 1
    assert after.mean.shape == before.mean.shape
    # No image makes a posterior wider than the prior.
    assert (after.log_variance <= 2 * posterior.prior_std.log() + 1e-4).all()


def test_evaluate_and_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = runs.golden_run(tmp_path)
    words = ["--inference", "rendering", "--radius", "6", "--sample", "12", "--resamples", "0"]
    main(["evaluate", str(folder), "--out", str(tmp_path / "seen"), *words])
    facts = json.loads((tmp_path / "seen/metrics.json").read_text())["run"]
    assert facts["z"].startswith("found by rendering")
    assert facts["z"].endswith("comparing 6 Fourier pixels")
    assert (
        "Rendering finds z of 12 particles, up to 6 Fourier pixels, in about"
        in capsys.readouterr().out
    )
    main(["export", str(folder), "--out", str(tmp_path / "plain")])
    main(["export", str(folder), "--out", str(tmp_path / "theirs"), *words[:4]])
    weights = CryoDRGNRun.open(folder)
    epoch = weights.epoch
    exported = CryoDRGNRun.open(tmp_path / "theirs")
    for name, value in weights.decoder.state_dict().items():
        assert torch.equal(value, exported.decoder.state_dict()[name])
    before, after = (latents(tmp_path / name / f"z.{epoch}.pkl") for name in ("plain", "theirs"))
    assert before[0].shape == after[0].shape
    assert not np.allclose(before[0], after[0], atol=1e-3)
    assert np.isfinite(after).all()


def test_a_radius_needs_rendering(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    with pytest.raises(SystemExit, match="--radius goes with --inference rendering"):
        main(["evaluate", str(folder), "--radius", "6"])
    with pytest.raises(ValueError, match="must be positive, found 0"):
        infer_by_rendering(open_run(folder), radius=0)


@settings(max_examples=50)
@given(st.floats(1e-5, 100), st.integers(4, 128), st.integers(12, 4000), st.floats(0.5, 60))
def test_a_plan_keeps_to_its_time_or_to_the_least(
    each: float, half: int, particles: int, minutes: float
) -> None:
    tried = min(half, 6)
    plan = fit_plan(each, tried, half, particles, minutes, None)
    assert tried <= plan.radius <= half
    assert min(particles, 100) <= plan.particles <= particles
    least = plan.radius == tried and plan.particles == min(particles, 100)
    assert plan.minutes <= minutes * 1.001 or least or plan.particles == min(particles, 100)
    given_radius = fit_plan(each, 3, half, particles, minutes, 3)
    assert given_radius.radius == 3


def test_time_goes_to_resolution_and_then_to_particles() -> None:
    assert fit_plan(1e-4, 6, 32, 4000, 60, None)[:2] == (32, 4000)
    assert fit_plan(1e-2, 6, 32, 4000, 4, None)[:2] == (11, 450)
    slow = fit_plan(1.0, 6, 32, 4000, 4, None)
    assert slow[:2] == (6, 100)


def test_minutes_need_rendering_and_are_positive(tmp_path: Path) -> None:
    folder = runs.golden_run(tmp_path)
    with pytest.raises(SystemExit, match="--minutes goes with --inference rendering"):
        main(["evaluate", str(folder), "--minutes", "6"])
    with pytest.raises(ValueError, match="must be positive, found 0"):
        plan_rendering(open_run(folder), particles=24, minutes=0)


def test_rendering_is_advised_once() -> None:
    pose = Verdict("viewing direction", "", [])
    advised = [
        command for _, command in next_steps(pose, "work", cryodrgn=True) if "rendering" in command
    ]
    assert advised == ["cryo-disentangle evaluate work --inference rendering --out rendered"]
    again = next_steps(pose, "work", cryodrgn=True, rendered=True)
    assert not any("rendering" in command for _, command in again)
