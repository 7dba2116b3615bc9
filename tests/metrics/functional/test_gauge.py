from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.metrics.functional.gauge import align_latents, align_poses, fit_pose_gauge

seeds = st.integers(0, 2**31 - 1)
few = settings(max_examples=15)


def draw(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return random_rotations(count, generator=generator, dtype=torch.float64)


def mirror(rotation: Tensor) -> Tensor:
    m = torch.diag(rotation.new_tensor([1, 1, -1]))
    return m @ rotation @ m


@few
@given(seeds, st.booleans())
def test_finds_axes_and_hand(seed: int, mirrored: bool) -> None:
    drawn = draw(seed, 21)
    true, axes = drawn[:20], drawn[20]
    estimated = mirror(true @ axes) if mirrored else true @ axes
    gauge = fit_pose_gauge(estimated, true)
    assert bool(gauge.mirrored) == mirrored
    torch.testing.assert_close(align_poses(estimated, true), true, rtol=0, atol=1e-9)
    torch.testing.assert_close(torch.linalg.det(gauge.rotation), drawn.new_tensor(1.0))


@few
@given(seeds)
def test_mirrored_poses_project_the_mirrored_volume(seed: int) -> None:
    rotation = draw(seed, 4)
    points = torch.randn(4, 3, 5, dtype=torch.float64)
    flipped = points * points.new_tensor([1, 1, -1])[:, None]
    torch.testing.assert_close(
        (mirror(rotation) @ flipped)[:, :2], (rotation @ points)[:, :2], rtol=0, atol=1e-12
    )


@few
@given(seeds)
def test_noise_leaves_the_alignment_near(seed: int) -> None:
    drawn = draw(seed, 202)
    true, axes = drawn[:200], drawn[200]
    noise = torch.randn(200, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    turn = torch.linalg.matrix_exp(0.05 * (noise - noise.transpose(1, 2)))
    angle = geodesic_distance(align_poses(turn @ true @ axes, true), true)
    assert angle.max() < 0.5
    assert angle.square().mean().sqrt() < 0.15


def test_angles_are_aligned_by_an_offset_and_never_mirrored() -> None:
    true = torch.linspace(-3, 3, 12, dtype=torch.float64)
    gauge = fit_pose_gauge(true + 4.0, true)
    assert not gauge.mirrored
    torch.testing.assert_close(
        align_poses(true + 4.0, true), in_plane_rotation(true), rtol=0, atol=1e-9
    )


@few
@given(seeds, st.floats(1e-6, 1e6))
def test_latents_are_aligned_by_an_affine_map(seed: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(40, 3, generator=generator, dtype=torch.float64)
    mixing = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    z[:, 1] *= scale
    target = z / z.new_tensor([1, scale, 1]) @ mixing + 5
    torch.testing.assert_close(align_latents(z, target), target, rtol=0, atol=1e-6)


def test_each_row_is_mapped_by_the_other_half() -> None:
    z = torch.arange(8, dtype=torch.float64)
    target = torch.where(torch.arange(8) % 2 == 0, z, 10 + 2 * z)
    aligned = align_latents(z, target)[:, 0]
    torch.testing.assert_close(aligned[::2], 10 + 2 * z[::2])
    torch.testing.assert_close(aligned[1::2], z[1::2])


def test_noise_gains_nothing_by_alignment() -> None:
    z = torch.randn(2000, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    target = torch.randn(2000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    error = (align_latents(z, target) - target).square().mean()
    assert error >= 0.99 * target.var()


def test_a_constant_code_is_mapped_to_the_mean() -> None:
    target = torch.arange(8, dtype=torch.float64)
    aligned = align_latents(torch.ones(8, 2), target)
    assert aligned[:, 0].tolist() == [4, 3, 4, 3, 4, 3, 4, 3]


def test_bad_input() -> None:
    rotation = draw(0, 4)
    with pytest.raises(ValueError, match=r"estimated must be rotations \(N, 3, 3\) or angles"):
        align_poses(torch.zeros(4, 9), rotation)
    with pytest.raises(ValueError, match="must have as many poses, got 4 and 3"):
        align_poses(rotation, rotation[:3])
    with pytest.raises(ValueError, match="must have as many poses, got 4 and 3"):
        fit_pose_gauge(rotation, rotation[:3])
    with pytest.raises(ValueError, match="reference must be finite"):
        fit_pose_gauge(rotation, rotation * math.nan)
    with pytest.raises(ValueError, match="at least 4 samples"):
        align_latents(torch.zeros(3, 1), torch.zeros(3, 1))
    mirrored = torch.tensor([1, 1, -1, 1])[:, None, None] * rotation
    with pytest.raises(ValueError, match=r"estimated must be rotations, .* at row 2 mirrors"):
        align_poses(mirrored, rotation)
