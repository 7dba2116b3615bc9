"""Latents once judged "shape" that say nothing, or the view: what is said of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cryo_disentangle.evaluation import evaluate
from cryo_disentangle.evaluation.evaluation import Evaluation
from cryo_disentangle.evaluation.runs import FinishedRun
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.particles import ParticleData, RealPreprocessing
from cryo_disentangle.particles.pickles import read_poses
from cryo_disentangle.types import ParticleBatch, Pose
from tests import tiny

COUNT = 400


class Decoder(nn.Module):
    """Renders z as a sum of patterns: a decoder whose run has stored its latents."""

    def __init__(self, patterns: Tensor) -> None:
        super().__init__()
        self.register_buffer("patterns", patterns)

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        del pose
        patterns: Any = self.patterns
        return (conformation @ patterns).view_as(batch["images"])


def run(folder: Path, module: nn.Module, **table: Any) -> FinishedRun:
    data = ParticleData(
        **tiny.write_stack(folder / "data", COUNT), preprocessing=RealPreprocessing()
    )
    return FinishedRun(folder, "a test", 1, data, module, InferredParticles.of(**table))


def look(finished: FinishedRun, **options: Any) -> Evaluation:
    return evaluate(finished, resamples=0, **options)


def images(folder: Path) -> Tensor:
    data = ParticleData(
        **tiny.write_stack(folder / "images", COUNT), preprocessing=RealPreprocessing()
    )
    return torch.cat([batch["images"] for batch in data.predict_dataloader()]).flatten(1)


def random_latents() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((COUNT, 2)).astype(np.float32)


def components(observed: Tensor, count: int = 2) -> Tensor:
    """Principal components of images: what a linear decoder would learn of them."""
    return torch.linalg.svd(observed - observed.mean(0), full_matrices=False).Vh[:count]


def test_random_latents_beside_a_decoder_do_not_encode_the_particle(tmp_path: Path) -> None:
    decoder = Decoder(components(images(tmp_path)))
    found = look(run(tmp_path, decoder, mean=random_latents()))
    assert found.judgement.verdict == "nothing"
    assert found.judgement.headline == "z does not encode the particle."
    assert any("no better with its own z" in reason for reason in found.judgement.reasons)


def test_latents_that_were_fitted_to_images_encode_something(tmp_path: Path) -> None:
    observed = images(tmp_path)
    patterns = components(observed)
    found = look(run(tmp_path, Decoder(patterns), mean=observed @ patterns.T))
    assert any("better with its own z" in reason for reason in found.judgement.reasons)
    assert found.judgement.verdict not in ("nothing", "unknown")
    assert "training particles" in " ".join(found.judgement.reasons) or found.sample == "held-out"


def test_random_latents_alone_are_not_known_to_encode_anything(tmp_path: Path) -> None:
    found = look(run(tmp_path, nn.Identity(), mean=random_latents()))
    assert found.judgement.headline == "It is not known whether z encodes anything."


def test_latents_that_are_all_the_same_encode_nothing(tmp_path: Path) -> None:
    found = look(run(tmp_path, nn.Identity(), mean=np.full((COUNT, 2), 0.3, np.float32)))
    assert found.judgement.verdict == "nothing"
    assert "collapsed" in found.judgement.headline


def test_random_latents_do_not_tell_the_truth(tmp_path: Path) -> None:
    finished = run(tmp_path, nn.Identity(), mean=random_latents())
    factors = np.random.default_rng(1).uniform(-1, 1, (COUNT, 2)).astype(np.float32)
    np.savez(tmp_path / "truth.npz", factors=factors)
    found = look(finished, truth=tmp_path / "truth.npz")
    assert found.judgement.verdict == "nothing"
    assert any("does not encode the true factors" in reason for reason in found.judgement.reasons)
    told = run(tmp_path / "told", nn.Identity(), mean=factors @ np.array([[1, 1], [-1, 1.0]]))
    assert look(told, truth=tmp_path / "truth.npz").judgement.verdict == "conformation"


def spread_by_view(folder: Path, gain: float) -> np.ndarray:
    """Noise whose width differs between views, as 1 + gain is to 1."""
    rotation = read_poses(tiny.write_stack(folder / "data", COUNT)["poses"])[0]
    width = (1 + gain * np.abs(rotation[:, 2, 2])) / (1 + gain)
    return random_latents() * np.stack([width, np.ones(COUNT)], 1)


@pytest.mark.parametrize(("gain", "verdict"), [(4.0, "partly viewing direction"), (0, "unknown")])
def test_a_spread_that_follows_the_view_is_seen(tmp_path: Path, gain: float, verdict: str) -> None:
    found = look(run(tmp_path, nn.Identity(), mean=spread_by_view(tmp_path, gain)))
    assert found.judgement.verdict == verdict
    assert found.measured.scores["pose_leak"]["pose_leak_nonlinear_r2"].value < 0.05


def test_honest_uncertainty_is_no_leak(tmp_path: Path) -> None:
    """Posterior means lie closer together where a view tells less, and the posterior says so."""
    z = spread_by_view(tmp_path, 4.0)
    rotation = read_poses(tiny.write_stack(tmp_path / "data", COUNT)["poses"])[0]
    width = (1 + 4 * np.abs(rotation[:, 2, 2])) / 5
    variance = np.stack([1.001 - width**2, np.full(COUNT, 1e-3)], 1)
    honest = look(run(tmp_path, nn.Identity(), mean=z, log_variance=np.log(variance)))
    assert honest.measured.scores["spread_leak"]["divided_by_posterior"].value == 1
    assert honest.judgement.verdict == "unknown"
