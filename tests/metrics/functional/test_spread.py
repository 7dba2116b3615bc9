from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.metrics.functional.leak import pose_leak
from cryo_disentangle.metrics.functional.spread import (
    SpreadLeakScores,
    nuisance_spread_leak,
    view_spread_leak,
)


def normal(seed: int, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


@cache
def rotations(count: int = 8000) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return random_rotations(count, generator=generator, dtype=torch.float64)


def spread(gain: float) -> Tensor:
    """A spread that grows from 1 to 1 + gain with how far a view is from the equator."""
    return 1 + gain * rotations()[:, 2, 2].abs()


def smallest(scores: SpreadLeakScores) -> float:
    return min(float(scores.p_value.min()), float(scores.overall_p_value))


def test_a_quarter_more_spread_is_found() -> None:
    others = 0
    for seed in range(8):
        z = normal(seed, 8000, 2)
        z[:, 0] *= spread(0.25)
        scores = view_spread_leak(z, rotations())
        assert float(scores.p_value[0]) < 0.02
        assert 1.15 < float(scores.ratio[0]) < 1.5
        others += bool(scores.p_value[1] <= 0.05)
    assert others <= 2


def test_what_the_mean_does_not_tell() -> None:
    z = normal(0, 8000) * spread(4)
    assert float(pose_leak(z, rotations()).nonlinear_r2) < 0.02
    scores = view_spread_leak(z, rotations())
    assert float(scores.p_value) == float(scores.overall_p_value) == pytest.approx(1 / 201)
    assert 2.5 < float(scores.ratio) < 5
    # Less than between views, which differ within a cell, too.
    assert 0.5 < float(scores.variance) / float(spread(4).log().var()) < 1


@pytest.mark.parametrize("count", [30, 300, 1500])
def test_false_alarms(count: int) -> None:
    alarms = 0
    for seed in range(60):
        view = rotations()[seed * 100 : seed * 100 + count]
        # Skewed latents and a mean that follows the view are no difference of spread.
        z = normal(seed, count, 3).exp() + 0.2 * view[:, 2]
        alarms += smallest(view_spread_leak(z, view, permutations=99)) <= 0.05
    assert alarms <= 8  # of 60 at 5 %: more come in one draw of 250


def test_honest_uncertainty_is_divided_out() -> None:
    error = 2 * rotations()[:, 2, 2].abs() + 0.5
    honest = normal(0, 8000, 2) + error[:, None] * normal(1, 8000, 2)
    width = (1 + error.square()).sqrt()
    assert smallest(view_spread_leak(honest, rotations())) < 0.01
    assert smallest(view_spread_leak(honest, rotations(), width=width)) > 0.05
    each = torch.stack([width, width], 1).float().numpy()
    assert smallest(view_spread_leak(honest, rotations(), width=each)) > 0.05
    leaking = honest * spread(1)[:, None]
    assert smallest(view_spread_leak(leaking, rotations(), width=width)) < 0.01


def test_nuisances() -> None:
    defocus = 1e4 + 3e3 * normal(0, 8000, 1).expand(-1, 2) + 100 * normal(1, 8000, 2)
    shift, level = normal(2, 8000, 2), torch.arange(8000) % 3
    z = normal(3, 8000, 3)
    z[:, 0] *= 1 + 0.3 * (defocus[:, 0] > 1e4)
    z[:, 1] *= 1 + 0.3 * (level == 2)
    scores = nuisance_spread_leak(z, {"defocus": defocus, "shift": shift, "level": level})
    assert list(scores) == ["defocus", "shift", "level"]
    assert [bool(p < 0.02) for p in scores["defocus"].p_value] == [True, False, False]
    assert smallest(scores["shift"]) > 0.05
    assert [bool(p < 0.02) for p in scores["level"].p_value] == [False, True, False]
    assert float(scores["level"].ratio[1]) == pytest.approx(1.3, abs=0.06)
    # Two thirds of log 1 and a third of log 1.3.
    variance = 2 / 9 * math.log(1.3) ** 2
    assert float(scores["level"].variance[1]) == pytest.approx(variance, rel=0.25)


def test_poses_in_the_plane() -> None:
    angle = 2 * math.pi * torch.rand(4000, generator=torch.Generator().manual_seed(0))
    z = normal(0, 4000) * (1 + 0.5 * angle.cos())
    scores = view_spread_leak(z, angle)
    assert float(scores.overall_p_value) < 0.01
    torch.testing.assert_close(view_spread_leak(z, in_plane_rotation(angle)), scores)
    assert smallest(view_spread_leak(normal(1, 4000), angle)) > 0.05


def test_constants_spread_nowhere() -> None:
    z = torch.stack([torch.full((500,), 0.3), torch.zeros(500)], 1)
    for scores in (
        view_spread_leak(z, rotations()[:500]),
        view_spread_leak(normal(0, 500, 2), rotations()[:1].expand(500, 3, 3)),
        nuisance_spread_leak(normal(0, 500, 2), {"shift": torch.zeros(500)})["shift"],
    ):
        assert scores.p_value.tolist() == [1, 1]
        assert scores.ratio.tolist() == [1, 1]
        assert scores.variance.tolist() == [0, 0]
        assert float(scores.overall_p_value) == 1
    one_cell = normal(0, 4000)
    one_cell[rotations()[:4000, 2, 2] > -0.9] = 0
    found = view_spread_leak(one_cell, rotations()[:4000])
    assert float(found.p_value) < 0.01
    assert math.isfinite(float(found.ratio))


def test_units_and_origin_change_nothing() -> None:
    z = normal(0, 800, 2) * spread(1)[:800, None]
    scores = view_spread_leak(z, rotations()[:800])
    for factor in (1e-30, 1e20):
        torch.testing.assert_close(view_spread_leak(factor * z, rotations()[:800]), scores)
    torch.testing.assert_close(view_spread_leak(z + 3, rotations()[:800]), scores)
    wide = torch.full((800,), 7.0)
    torch.testing.assert_close(view_spread_leak(z, rotations()[:800], width=wide), scores)


def test_many_rows_are_drawn_from() -> None:
    z, view = normal(0, 110_000), rotations().repeat(14, 1, 1)[:110_000]
    z = z * (1 + 0.1 * view[:, 2, 2].abs())
    first, again = (view_spread_leak(z, view, permutations=40) for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    assert float(first.p_value) == pytest.approx(1 / 41)


def test_bad_input() -> None:
    z, view = normal(0, 20, 2), rotations()[:20]
    with pytest.raises(ValueError, match="as many samples, got 20 and 19"):
        view_spread_leak(z, view[:19])
    with pytest.raises(ValueError, match="z and time must have as many samples, got 20 and 30"):
        nuisance_spread_leak(z, {"time": normal(0, 30)})
    with pytest.raises(ValueError, match=r"width must have shape \(20,\) or \(20, 2\).*\(20, 3\)"):
        view_spread_leak(z, view, width=normal(0, 20, 3))
    with pytest.raises(ValueError, match="width must be positive, got -1"):
        view_spread_leak(z, view, width=-torch.ones(20))
    with pytest.raises(ValueError, match="bins and permutations must be at least 2, got 1 and 200"):
        view_spread_leak(z, view, bins=1)
    with pytest.raises(ValueError, match="at least 12 samples, got 5"):
        view_spread_leak(z[:5], view[:5])
