from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.metrics.functional.leak import (
    NuisanceLeakScores,
    PoseLeakScores,
    nuisance_leak,
    pose_leak,
)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@cache
def rotations(count: int = 6000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return random_rotations(count, generator=generator, dtype=torch.float64)


@cache
def leak_of_views() -> PoseLeakScores:
    """A linear, a smooth and a noisy function of the viewing direction, noise and a constant."""
    view = rotations()[:, 2]
    columns = [
        view[:, 0],
        (4 * view[:, 0] * view[:, 2]).sin(),
        view[:, 2] + math.sqrt(1 / 3) * normal(1, len(view)),
        normal(2, len(view)),
        torch.full_like(view[:, 0], 0.3),
    ]
    return pose_leak(torch.stack(columns, 1), rotations())


def test_functions_of_the_view_are_found() -> None:
    scores = leak_of_views()
    assert scores.nonlinear_r2[:2].min() > 0.97
    assert float(scores.linear_r2[0]) == pytest.approx(1)
    assert float(scores.linear_r2[1]) < 0.05
    assert float(scores.linear_r2[2]) == pytest.approx(0.5, abs=0.04)
    assert float(scores.nonlinear_r2[2]) == pytest.approx(0.5, abs=0.04)


def test_noise_and_constants_leak_nothing() -> None:
    scores = leak_of_views()
    assert float(scores.linear_r2[3]) == pytest.approx(0, abs=0.01)
    assert float(scores.nonlinear_r2[3]) == pytest.approx(0, abs=0.01)
    assert float(scores.mutual_information[3].max()) < 0.02
    for scored in (scores.linear_r2, scores.nonlinear_r2, scores.mutual_information):
        assert not scored[4].any()


def test_information_names_the_angle() -> None:
    rot, tilt, psi = leak_of_views().mutual_information[2]
    assert tilt > 0.2
    assert max(float(rot), float(psi)) < 0.02


@pytest.mark.parametrize("count", [40, 400, 4000])
def test_independent_latents_and_poses(count: int) -> None:
    scores = pose_leak(normal(3, count, 4), rotations()[:count])
    noise = 3 / math.sqrt(count)
    for scored in scores:
        assert scored.dtype == torch.float64
        assert float(scored.min()) >= 0
        assert float(scored.mean()) < noise


def test_the_pose_is_found_in_the_latents() -> None:
    view = rotations()[:, 2]
    scores = pose_leak(torch.cat([view, normal(1, len(view), 1)], 1), rotations())
    # Three of nine entries are there, and the others are of no preferred sign.
    assert float(scores.rotation_linear_r2) == pytest.approx(1 / 3, abs=0.01)
    assert float(scores.rotation_nonlinear_r2) == pytest.approx(1 / 3, abs=0.02)
    whole = pose_leak(rotations().flatten(1), rotations())
    assert float(whole.rotation_linear_r2) == pytest.approx(1)


def test_angles_on_the_circle() -> None:
    angle = 2 * math.pi * torch.rand(3000, generator=torch.Generator().manual_seed(0))
    z = torch.stack([torch.sin(3 * angle), normal(0, 3000).float()], 1)
    scores = pose_leak(z, angle)
    assert float(scores.nonlinear_r2[0]) > 0.98
    assert float(scores.nonlinear_r2[1]) < 0.01
    # In-plane turns are psi; rot and tilt stay the same.
    assert float(scores.mutual_information[0, :2].max()) == 0
    assert float(scores.mutual_information[0, 2]) > 0.5
    torch.testing.assert_close(pose_leak(z, in_plane_rotation(angle)), scores, rtol=1e-4, atol=1e-4)


def test_scale_changes_nothing() -> None:
    view = rotations()[:500, 2] + 0.3 * normal(0, 500, 3)
    for one, other in zip(
        pose_leak(view, rotations()[:500]), pose_leak(1e-6 * view, rotations()[:500]), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_the_seed_alone_decides() -> None:
    z = rotations()[:300, 1] + 0.5 * normal(0, 300, 3)
    first, again = (pose_leak(z, rotations()[:300], seed=5) for _ in range(2))
    other = pose_leak(z, rotations()[:300], seed=6)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert not torch.equal(first.linear_r2, other.linear_r2)


def test_nuisances() -> None:
    defocus, shift = 1e4 + 3e3 * normal(0, 3000, 2), normal(1, 3000, 2)
    temperature = torch.full((3000,), 300.0)
    z = torch.stack([(defocus[:, 0] / 3e3).sin(), shift[:, 1], normal(2, 3000)], 1)
    scores = nuisance_leak(
        z, {"defocus": defocus, "shift": shift, "time": normal(3, 3000), "temperature": temperature}
    )
    assert list(scores) == ["defocus", "shift", "time", "temperature"]
    assert isinstance(scores["defocus"], NuisanceLeakScores)
    torch.testing.assert_close(
        torch.stack([leak.nonlinear_r2 for leak in scores.values()]),
        torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]], dtype=torch.float64),
        rtol=0,
        atol=0.03,
    )
    assert float(scores["shift"].linear_r2[1]) == pytest.approx(1)
    information = scores["shift"].mutual_information
    assert information.shape == (3, 2)
    assert float(information[1, 1]) > 2
    assert float(information[0].max()) < 0.05


def test_bad_input() -> None:
    z = normal(0, 20, 2)
    with pytest.raises(ValueError, match="as many samples, got 20 and 19"):
        pose_leak(z, rotations()[:19])
    with pytest.raises(ValueError, match=r"rotation must be rotations .* got \(20, 4\)"):
        pose_leak(z, torch.zeros(20, 4))
    with pytest.raises(ValueError, match="at least 12 samples, got 5"):
        pose_leak(z[:5], rotations()[:5])
    with pytest.raises(ValueError, match="z and time must have as many samples, got 20 and 30"):
        nuisance_leak(z, {"time": normal(0, 30)})
    with pytest.raises(ValueError, match="defocus must be finite, got nan at row 0, column 1"):
        nuisance_leak(z, {"defocus": z * torch.tensor([1, math.nan])})
