from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.metrics.in_plane_rotation import RotationTest
from cryo_disentangle.types import Inference, ParticleBatch, Pose
from tests.small_model import make_batch, make_model

SIDE = 16


def noise_batch(count: int, *, hartley: bool = True) -> ParticleBatch:
    images = torch.randn(count, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    if hartley:
        images = symmetrize(hartley2(images))
    return ParticleBatch(images=images, index=torch.arange(count))


class Reader:
    """Infers two numbers from an image: sums under masks, of its square where invariant."""

    def __init__(self, side: int, *, invariant: bool) -> None:
        axis = torch.arange(side) - side // 2
        radius = torch.hypot(axis[:, None].float(), axis[None].float())
        rings = [(radius >= 1) & (radius < 4), (radius >= 4) & (radius < 7)]
        half = axis[:, None].expand(side, side) > 0
        self.invariant = invariant
        self.masks = torch.stack([ring if invariant else ring & half for ring in rings]).float()

    def infer(self, batch: ParticleBatch) -> Inference:
        images = batch["images"]
        read = images.square() if self.invariant else images
        mean = torch.einsum("bxy,kxy->bk", read, self.masks)
        return Inference(mean, torch.full_like(mean, -2.0))

    def generate(self, conformation: Tensor, pose: Pose, batch: ParticleBatch) -> Tensor:
        raise NotImplementedError


@pytest.mark.parametrize("hartley", [True, False])
def test_an_invariant_encoder(hartley: bool) -> None:
    batch = noise_batch(100, hartley=hartley)
    metric = RotationTest()
    metric.update(Reader(batch["images"].shape[-1], invariant=True), batch)
    scores = {name: float(value) for name, value in metric.compute().items()}
    for angle in ("_90", "_180", "_270", ""):
        assert scores[f"rotation{angle}_normalized"] == pytest.approx(0, abs=1e-9)
        assert scores[f"rotation{angle}_icc_min"] == pytest.approx(1)
        assert scores[f"rotation{angle}_retrieval_rate"] == 1
        assert scores[f"rotation{angle}_auc"] == pytest.approx(0.5, abs=0.02)
    assert scores["rotation_collapsed"] == 0


@pytest.mark.parametrize("hartley", [True, False])
def test_an_encoder_of_one_side(hartley: bool) -> None:
    batch = noise_batch(1000, hartley=hartley)
    metric = RotationTest(angles_deg=(180, 90))
    metric.update(Reader(batch["images"].shape[-1], invariant=False), batch)
    scores = {name: float(value) for name, value in metric.compute().items()}
    # Turned by 180 degrees it reads other noise; by 90 degrees half of it is the same.
    assert scores["rotation_180_normalized"] == pytest.approx(1, abs=0.1)
    assert scores["rotation_180_retrieval_rank"] == pytest.approx(0.5, abs=0.05)
    assert scores["rotation_90_normalized"] == pytest.approx(0.5, abs=0.1)
    mean = (scores["rotation_180_raw"] + scores["rotation_90_raw"]) / 2
    assert scores["rotation_raw"] == pytest.approx(mean)


def test_other_angles_interpolate() -> None:
    batch = noise_batch(50)
    metric = RotationTest(angles_deg=[22.5])
    metric.update(Reader(SIDE + 1, invariant=True), batch)
    scores = metric.compute()
    assert "rotation_22.5_normalized" in scores
    assert 0 < float(scores["rotation_normalized"]) < 0.5


def test_a_real_model_and_constant_latents() -> None:
    model, batch = make_model().train(), make_batch()
    metric = RotationTest(angles_deg=[90])
    for repeat in range(3):
        metric.update(model, {**batch, "index": batch["index"] + 5 * repeat})
    scores = metric.compute()
    assert model.training
    assert all(bool(value.isfinite()) and value.shape == () for value in scores.values())
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
    metric.reset()
    for repeat in range(3):
        metric.update(model, {**batch, "index": batch["index"] + 5 * repeat})
    assert float(metric.compute()["rotation_collapsed"]) == 1


@pytest.mark.parametrize("angles", [[], [0], [90, 360], [float("nan")], [float("inf")]])
def test_bad_angles(angles: list[float]) -> None:
    with pytest.raises(ValueError, match="angles that are no multiples of 360, got"):
        RotationTest(angles)


def test_scores_have_intervals() -> None:
    batch = noise_batch(60)
    metric = RotationTest(angles_deg=(90,))
    metric.update(Reader(batch["images"].shape[-1], invariant=False), batch)
    scores, found = metric.compute(), metric.intervals(resamples=5)
    assert {name: float(part.value) for name, part in found.items()} == pytest.approx(
        {name: float(value) for name, value in scores.items()}
    )
    assert found["rotation_normalized"].low < found["rotation_normalized"].high
