from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.imaging import FourierDisc, contrast_transfer
from cryo_disentangle.imaging.gaussians import project_gaussians
from cryo_disentangle.imaging.hartley import hartley2, symmetrize
from cryo_disentangle.imaging.lattice import lattice_frequencies
from cryo_disentangle.imaging.window import soft_window
from cryo_disentangle.metrics.functional.rotation import (
    rotate_images,
    rotate_particles,
    rotation_scores,
)
from cryo_disentangle.types import ParticleBatch, Pose
from tests.small_model import COUNT, DIM, make_batch, make_model

BOX, PIXEL = 32, 2.0


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def blobs(rotation: Tensor, translation: Tensor | None = None) -> Tensor:
    """Images of six Gaussians well inside the box and the band, float64."""
    centres = 5 * normal(0, 1, 6, 3).expand(len(rotation), -1, -1)
    weights = torch.arange(1, 7, dtype=torch.float64)
    return project_gaussians(centres, weights, 4.0, rotation, BOX, PIXEL, translation)


def turn(angle_deg: float) -> Tensor:
    return in_plane_rotation(torch.tensor(math.radians(angle_deg), dtype=torch.float64))


def rotations(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return random_rotations(count, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("angle", [90, 180, 270, -90, 450])
@pytest.mark.parametrize("ctf", [True, False])
@torch.no_grad()
def test_right_angles_render_as_turned_poses(angle: float, ctf: bool) -> None:
    model, batch = make_model(), make_batch(ctf=ctf)
    if ctf:
        batch["ctf"] = batch["ctf"].clone()
        batch["ctf"][:, 3] -= 3000
    z = torch.randn(COUNT, DIM, generator=torch.Generator().manual_seed(0))
    batch["images"] = model.generate(z, Pose(batch["rotation"], batch["translation"]), batch)
    turned = rotate_particles(batch, angle)
    pose = Pose(turned["rotation"], turned["translation"])
    expected = model.generate(z, pose, turned)
    largest = batch["images"].abs().max()
    torch.testing.assert_close(turned["images"] / largest, expected / largest, rtol=0, atol=1e-5)
    assert turned["index"] is batch["index"]


@pytest.mark.parametrize("angle", [90, 180, -90, 30, -37.5, 45, 134, 200])
def test_real_images_are_those_of_turned_poses(angle: float) -> None:
    rotation, translation = rotations(5), normal(2, 5, 2)
    images = blobs(rotation, translation)
    turned = rotate_particles(
        ParticleBatch(
            images=images, index=torch.arange(5), rotation=rotation, translation=translation
        ),
        angle,
    )
    torch.testing.assert_close(turned["rotation"], turn(angle) @ rotation)
    expected = blobs(turned["rotation"], turned["translation"])
    # Gaussians integrated over square pixels aren't quite round. Right angles are exact but for
    # tails at the first row and column, which are wrapped around.
    floor = (5e-5 if angle % 90 else 1e-6) * float(images.max())
    torch.testing.assert_close(turned["images"], expected, rtol=0, atol=floor)


@pytest.mark.parametrize("angle", [90, 270, 33])
def test_the_transform_turns_with_the_image(angle: float) -> None:
    images = blobs(rotations(3))
    turned = rotate_images(symmetrize(hartley2(images)), angle)
    expected = symmetrize(hartley2(rotate_images(images, angle)))
    torch.testing.assert_close(turned, expected, rtol=0, atol=1e-9 * float(expected.abs().max()))


def test_four_quarters_are_none() -> None:
    for side in (8, 9):
        images = normal(0, 2, side, side)
        turned = images
        for _ in range(4):
            turned = rotate_images(turned, 90)
        assert torch.equal(turned, images)
        assert torch.equal(rotate_images(images, 180), rotate_images(rotate_images(images, 90), 90))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("side", [8, 9])
def test_the_type_is_kept(dtype: torch.dtype, side: int) -> None:
    assert rotate_images(torch.zeros(1, side, side, dtype=dtype), 20).dtype == dtype


@pytest.mark.parametrize(("radius", "lost"), [(24, 0.025), (32, 0.06)])
def test_windowed_noise_comes_back(radius: int, lost: float) -> None:
    noise = normal(0, 8, 64, 64) * soft_window(64)
    back = rotate_images(rotate_images(noise, 30), -30)
    disc = FourierDisc(64, radius)
    before, after = (disc.select(symmetrize(hartley2(images))) for images in (noise, back))
    assert float((after - before).norm() / before.norm()) < lost


@pytest.mark.parametrize("angle", [90.0, 30.0, -200.0])
def test_astigmatism_turns_with_the_image(angle: float) -> None:
    ctf = torch.tensor([[BOX, PIXEL, 15000.0, 11000.0, 20.0, 300, 2.7, 0.1, 0]])
    batch = ParticleBatch(images=torch.zeros(1, BOX, BOX), index=torch.arange(1), ctf=ctf)
    turned = rotate_particles(batch, angle)["ctf"]
    frequencies = lattice_frequencies(BOX).double()
    moved = frequencies @ turn(angle)[:2, :2].T
    torch.testing.assert_close(
        contrast_transfer(moved, turned, BOX),
        contrast_transfer(frequencies, ctf, BOX),
        rtol=0,
        atol=1e-4,
    )
    assert float(ctf[0, 4]) == 20


@pytest.mark.parametrize(
    ("leak", "rank"), [(0, 0), (0.1, 0.002), (0.5, 0.107), (1, 0.289), (3, 0.466)]
)
def test_scores_of_a_known_leak(leak: float, rank: float) -> None:
    z, own, turned = normal(0, 4000, 3), normal(1, 4000, 3), normal(2, 4000, 3)
    scores = rotation_scores(z + leak * own, z + leak * turned, torch.full((4000, 3), -4.0))
    assert float(scores.normalized) == pytest.approx(leak**2 / (1 + leak**2), abs=0.02)
    assert float(scores.retrieval_rank) == pytest.approx(rank, abs=0.02)
    assert float(scores.auc) == pytest.approx(0.5, abs=0.03)
    expected = 1 / (1 + leak**2)
    torch.testing.assert_close(scores.icc, scores.icc * 0 + expected, rtol=0, atol=0.05)
    torch.testing.assert_close(scores.correlation, scores.icc, rtol=0, atol=0.01)
    mean_distance = leak * 2 / math.sqrt(math.pi)
    assert float(scores.posterior_units) == pytest.approx(mean_distance * math.e**2, rel=0.03)
    floor = 3 * math.exp(-4) / (2 * 3 * (1 + leak**2))
    assert float(scores.noise_floor) == pytest.approx(floor, rel=0.05)
    if not leak:
        assert float(scores.retrieval_rate) == 1
        assert float(scores.auc) == 0.5


def test_a_shift_of_turned_latents_is_told() -> None:
    z = normal(0, 2000, 2)
    shift = torch.tensor([0.0, 1.0], dtype=torch.float64)
    scores = rotation_scores(z, z + shift, z * 0)
    # Of two normal distributions one standard deviation apart: Φ(1 / √2).
    assert float(scores.auc) == pytest.approx(0.760, abs=0.03)
    torch.testing.assert_close(scores.correlation, torch.ones(2, dtype=torch.float64))


def test_a_spread_of_turned_latents_is_told() -> None:
    scores = rotation_scores(normal(0, 2000, 1), 3 * normal(1, 2000, 1), normal(0, 2000, 1) * 0)
    assert float(scores.auc) > 0.65


def test_scale_changes_nothing_but_the_raw_score() -> None:
    z, turned = normal(0, 300, 2), normal(0, 300, 2) + 0.3 * normal(1, 300, 2)
    log_variance = normal(2, 300, 2) - 3
    plain = rotation_scores(z, turned, log_variance)
    scaled = rotation_scores(1e-3 * z, 1e-3 * turned, log_variance + 2 * math.log(1e-3))
    torch.testing.assert_close(scaled.raw, plain.raw * 1e-6)
    for name in plain._fields[1:]:
        torch.testing.assert_close(getattr(scaled, name), getattr(plain, name))


def test_constant_latents_are_at_chance() -> None:
    z = torch.full((50, 2), 0.3)
    scores = rotation_scores(z, z, z * 0)
    assert scores.collapsed
    assert float(scores.normalized) == float(scores.noise_floor) == 1
    assert float(scores.retrieval_rank) == float(scores.auc) == 0.5
    assert float(scores.retrieval_rate) == pytest.approx(1 / 50)
    assert scores.icc.tolist() == scores.correlation.tolist() == [0, 0]


def test_bad_input() -> None:
    with pytest.raises(ValueError, match=r"images must be square, .* got \(2, 4, 5\)"):
        rotate_images(torch.zeros(2, 4, 5), 90)
    z = normal(0, 20, 2)
    with pytest.raises(ValueError, match=r"one shape, got \(20, 2\), \(20, 2\) and \(20, 1\)"):
        rotation_scores(z, z, z[:, :1])
    with pytest.raises(ValueError, match="at least 12 samples, got 5"):
        rotation_scores(z[:5], z[:5], z[:5])
