from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.metrics.functional import pose_conformation as metrics

few = settings(max_examples=15)
seeds = st.integers(0, 2**31 - 1)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def rotations(seed: int, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return random_rotations(count, generator=generator, dtype=torch.float64)


def number(value: Tensor) -> float:
    assert value.dtype == torch.float64
    assert value.shape == ()
    return float(value)


def test_consistency_is_one_minus_r_squared() -> None:
    z, error = normal(0, 500, 3), normal(1, 500, 3) * torch.tensor([0.1, 0.5, 2.0])
    score = metrics.volume_consistency(z, z + error)
    assert number(score.raw) == pytest.approx(float(error.square().sum(1).mean()))
    assert number(score.normalized) == pytest.approx(
        float(error.square().sum(1).mean() / z.var(0, correction=0).sum())
    )
    shares = 1 - error.square().mean(0) / z.var(0, correction=0)
    torch.testing.assert_close(score.per_axis, shares)
    assert not score.collapsed
    again = metrics.conformation_encoder_consistency(z, z + error)
    assert number(again.normalized) == number(score.normalized)


@pytest.mark.parametrize(("leak", "expected"), [(0, 0), (0.1, 0.0099), (0.5, 0.2), (1, 0.5)])
def test_invariance_is_one_minus_the_intraclass_correlation(leak: float, expected: float) -> None:
    z = normal(0, 20_000, 3)
    first, second = z + leak * normal(1, 20_000, 3), z + leak * normal(2, 20_000, 3)
    score = metrics.conformation_pose_invariance(first, second)
    assert number(score.normalized) == pytest.approx(expected, abs=0.01)
    torch.testing.assert_close(score.per_axis, score.per_axis * 0 + 1 - expected, rtol=0, atol=0.02)


@few
@given(seeds, st.floats(1e-8, 1e8))
def test_scale_changes_no_normalised_score(seed: int, scale: float) -> None:
    first, second = normal(seed, 30, 2) + 3, normal(seed + 1, 30, 2) + 3
    for metric in (metrics.volume_consistency, metrics.conformation_pose_invariance):
        plain, scaled = metric(first, second), metric(first * scale, second * scale)
        assert number(scaled.normalized) == pytest.approx(number(plain.normalized))
        torch.testing.assert_close(scaled.per_axis, plain.per_axis)
        assert number(scaled.raw) == pytest.approx(scale**2 * number(plain.raw))
        assert not scaled.collapsed


def test_shrinking_the_leaking_axis_hides_nothing_from_the_axes() -> None:
    z = normal(0, 5000, 3)
    first, second = z.clone(), z.clone()
    first[:, 0], second[:, 0] = normal(1, 5000), normal(2, 5000)
    shrink = torch.tensor([0.01, 1, 1], dtype=torch.float64)
    score = metrics.conformation_pose_invariance(first * shrink, second * shrink)
    assert number(score.normalized) < 1e-4
    assert number(score.per_axis.min()) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("level", [0.0, 0.3, -7.1])
def test_constant_latents_are_collapsed_and_at_chance(level: float) -> None:
    # The mean of equal float32 numbers isn't exactly that number.
    z = torch.full((101, 2), level, dtype=torch.float32) * (1 + 1e-8)
    for metric in (metrics.volume_consistency, metrics.conformation_pose_invariance):
        score = metric(z, z)
        assert score.collapsed
        assert number(score.raw) == 0
        assert number(score.normalized) == 1
        assert score.per_axis.tolist() == [0, 0]


def test_one_constant_axis_has_no_agreement() -> None:
    z = normal(0, 50, 2)
    z[:, 1] = 4.2
    score = metrics.conformation_pose_invariance(z, z)
    assert score.per_axis.tolist() == [1, 0]
    assert number(score.normalized) == 0
    assert not score.collapsed


def test_a_constant_answer_is_collapsed() -> None:
    z = normal(0, 50, 2)
    score = metrics.volume_consistency(z, z * 0 + z.mean(0))
    assert score.collapsed
    assert number(score.normalized) == pytest.approx(1)


def test_any_array_will_do() -> None:
    z = normal(0, 50)
    score = metrics.volume_consistency(z.numpy().astype(np.float32), z.bfloat16())
    assert number(score.normalized) < 1e-4


def test_chance_on_so3() -> None:
    pose, other = rotations(0, 20_000), rotations(1, 20_000)
    for metric in (
        metrics.volume_pose_invariance,
        metrics.pose_encoder_consistency,
        metrics.pose_conformation_invariance,
    ):
        score = metric(pose, other)
        assert number(score.raw) == pytest.approx(math.pi**2 / 3 + 2, rel=0.02)
        assert number(score.normalized) == pytest.approx(1, abs=0.02)
        perfect = metric(pose, pose)
        assert number(perfect.raw) < 1e-12
        assert number(perfect.below_5_deg) == number(perfect.below_10_deg) == 1


def test_chance_on_the_circle() -> None:
    generator = torch.Generator().manual_seed(0)
    angle, other = 2 * math.pi * torch.rand(2, 20_000, generator=generator, dtype=torch.float64)
    score = metrics.pose_encoder_consistency(angle, other)
    assert number(score.raw) == pytest.approx(math.pi**2 / 3, rel=0.02)
    assert number(score.normalized) == pytest.approx(1, abs=0.02)
    assert number(score.median_deg) == pytest.approx(90, abs=2)


def test_angles_of_errors() -> None:
    pose = rotations(0, 5)
    errors = torch.tensor([2.0, 4.0, 7.0, 12.0, 60.0], dtype=torch.float64)
    score = metrics.volume_pose_invariance(in_plane_rotation(torch.deg2rad(errors)) @ pose, pose)
    assert number(score.median_deg) == pytest.approx(7)
    assert number(score.below_5_deg) == pytest.approx(0.4)
    assert number(score.below_10_deg) == pytest.approx(0.6)
    assert number(score.raw) == pytest.approx(float(torch.deg2rad(errors).square().mean()))


@few
@given(seeds, st.floats(0.01, 0.5))
def test_a_constant_answer_to_narrow_poses_is_at_chance(seed: int, width: float) -> None:
    angle = width * normal(seed, 200)
    score = metrics.pose_encoder_consistency(angle, angle * 0 + 0.1)
    assert number(score.normalized) == pytest.approx(1, abs=1e-9)


def test_an_encoder_that_always_answers_the_same_is_no_invariant_one() -> None:
    pose = rotations(0, 1).expand(40, 3, 3)
    assert number(metrics.pose_conformation_invariance(pose, pose).normalized) == 1


@few
@given(seeds)
def test_global_rotations_change_nothing(seed: int) -> None:
    drawn = rotations(seed, 41)
    first, second, axes = drawn[:20], drawn[20:40], drawn[40]
    plain = metrics.pose_conformation_invariance(first, second)
    turned = metrics.pose_conformation_invariance(first @ axes, second @ axes)
    for one, other in zip(plain, turned, strict=True):
        torch.testing.assert_close(one, other)


def test_bad_input() -> None:
    z = normal(0, 5, 2)
    with pytest.raises(ValueError, match=r"one shape, got \(5, 2\) and \(5, 1\)"):
        metrics.volume_consistency(z, z[:, :1])
    with pytest.raises(ValueError, match="first latents must have at least 2 samples"):
        metrics.volume_consistency(z[:1], z[:1])
    with pytest.raises(ValueError, match="second latents must be finite, got nan at row 0"):
        metrics.conformation_pose_invariance(z, z * math.nan)
    with pytest.raises(ValueError, match="as many poses, got 5 and 4"):
        metrics.pose_encoder_consistency(rotations(0, 5), rotations(0, 4))
    with pytest.raises(ValueError, match=r"second poses must be rotations .* got \(5, 2\)"):
        metrics.volume_pose_invariance(rotations(0, 5), z)
