"""Distances: what they are by hand, and which of them a constant can't satisfy."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.geometry.rotations import angular_distance
from cryo_disentangle.losses import (
    ChordalDistance,
    ContrastiveDistance,
    GeodesicDistance,
    NormalizedDistance,
    PosteriorDistance,
    RelativeDistance,
    SquaredDistance,
    WithVarianceFloor,
)
from cryo_disentangle.losses.distances import ConformationDistance, relative_invariance
from cryo_disentangle.types import Inference


def latents(count: int, dim: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dim, generator=generator, dtype=torch.float64)


def at(mean: Tensor, log_variance: float = 0.0) -> Inference:
    return Inference(mean, torch.full_like(mean, log_variance))


def test_squared_and_relative_by_hand() -> None:
    z = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    found = torch.tensor([[1.0, 2.0], [1.0, 4.0]])
    assert float(SquaredDistance().forward(at(found), at(z))) == (5 + 9) / 2
    assert float(RelativeDistance().forward(at(found), at(z, math.log(4)))) == pytest.approx(14 / 8)


def test_contrastive_by_hand() -> None:
    z, found = latents(5), latents(5, seed=1)
    scale = 0.3 * z.var(0, correction=0).sum()
    logits = [
        [float(-(found[i] - z[j]).square().sum() / scale) for j in range(5)] for i in range(5)
    ]
    rows = [math.log(sum(map(math.exp, row))) - row[i] for i, row in enumerate(logits)]
    loss = ContrastiveDistance(0.3).forward(at(found), at(z))
    assert float(loss) == pytest.approx(sum(rows) / 5)


def test_variance_floor_by_hand() -> None:
    z = torch.tensor([[0.0, 0.0], [2.0, 0.2]], dtype=torch.float64)
    loss = WithVarianceFloor(floor=1.0, floor_weight=3.0).forward(at(z), at(z))
    assert float(loss) == pytest.approx(3 * (0 + 1 - 0.2 / math.sqrt(2)) / 2, abs=1e-4)


@settings(max_examples=20)
@given(st.integers(2, 40), st.floats(-5, 5), st.integers(0, 100))
def test_a_constant_costs_the_contrastive_form_at_least_log_b(
    count: int, value: float, seed: int
) -> None:
    z = latents(count, seed=seed)
    constant = torch.full_like(z, value)
    distance = ContrastiveDistance()
    floor = math.log(count) - 1e-9
    assert float(distance.forward(at(constant), at(z))) >= floor
    assert float(distance.forward(at(constant), at(constant))) == pytest.approx(math.log(count))
    assert float(distance.forward(at(z), at(z))) < floor


@pytest.mark.parametrize(
    "distance", [ContrastiveDistance(), NormalizedDistance(), WithVarianceFloor()], ids=repr
)
def test_shrinking_to_a_constant_is_no_way_down(distance: ConformationDistance) -> None:
    """What comes back right costs less than a constant, even where z itself is constant."""
    z = latents(50)
    right = float(distance.forward(at(z), at(z)))
    for constant in (torch.zeros_like(z), z.mean(0).expand_as(z)):
        assert float(distance.forward(at(constant), at(z))) > right + 0.3
        assert float(distance.forward(at(constant), at(constant))) > right + 0.3
    assert float(SquaredDistance().forward(at(z * 0), at(z * 0))) == 0


@pytest.mark.parametrize(
    "distance", [ContrastiveDistance(), NormalizedDistance(), WithVarianceFloor()], ids=repr
)
def test_descent_from_a_constant_finds_the_conformation(distance: ConformationDistance) -> None:
    """ẑ = A z learnt from A near 0: distances that look on the whole batch pull it to A = 1."""
    z = latents(64, 2)
    matrix = torch.full((2, 2), 0.01, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([matrix], lr=0.05)
    for _ in range(200):
        optimizer.zero_grad()
        distance.forward(at(z @ matrix), at(z)).backward()
        optimizer.step()
    assert float(relative_invariance((z @ matrix).detach(), z)) < 0.1


@settings(max_examples=20)
@given(st.floats(0.1, 100), st.integers(0, 50))
def test_scale_free_distances(scale: float, seed: int) -> None:
    z, found = latents(20, seed=seed), latents(20, seed=seed + 1)
    for distance in (NormalizedDistance(), ContrastiveDistance()):
        one, other = distance(at(found), at(z)), distance(at(found * scale), at(z * scale))
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_relative_invariance_of_selves_others_and_constants() -> None:
    z = latents(20_000)
    assert float(relative_invariance(z, z)) < 1e-6
    assert float(relative_invariance(latents(20_000, seed=1), z)) == pytest.approx(1, abs=0.02)
    assert float(relative_invariance(z * 0, z * 0)) == 1
    assert float(relative_invariance(z * 0, z)) == pytest.approx(1, abs=1e-3)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_pose_distances_on_the_circle_and_the_sphere(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    a, b = 7 * torch.rand(2, 6, generator=generator, dtype=torch.float64)
    first, second = in_plane_rotation(a), in_plane_rotation(b)
    angle = angular_distance(a, b)
    torch.testing.assert_close(ChordalDistance()(first, second), (1 - angle.cos()).mean())
    torch.testing.assert_close(GeodesicDistance()(first, second), angle.square().mean())
    turn = random_rotations(6, generator=generator, dtype=torch.float64)
    for distance in (ChordalDistance(), GeodesicDistance()):
        torch.testing.assert_close(distance(turn @ first, turn @ second), distance(first, second))
        torch.testing.assert_close(distance(first @ turn, second @ turn), distance(first, second))


@pytest.mark.parametrize("distance", [ChordalDistance(), GeodesicDistance()], ids=repr)
def test_pose_distances_have_finite_gradients_where_rotations_agree_or_oppose(
    distance: ChordalDistance | GeodesicDistance,
) -> None:
    imposed = torch.eye(3).expand(2, 3, 3)
    inferred = in_plane_rotation(torch.tensor([0.0, math.pi])).requires_grad_()
    distance(inferred, imposed).backward()
    assert inferred.grad is not None
    assert inferred.grad.isfinite().all()


def test_pose_distances_keep_their_digits_under_autocast() -> None:
    rotation = random_rotations(8, generator=torch.Generator().manual_seed(0))
    other = in_plane_rotation(torch.full((8,), 0.01)) @ rotation
    with torch.autocast("cpu", torch.bfloat16):
        assert float(GeodesicDistance()(rotation, other)) == pytest.approx(1e-4, rel=1e-2)
        assert float(ChordalDistance()(rotation, other)) == pytest.approx(5e-5, rel=1e-2)


def test_the_posterior_distance_is_a_negative_log_likelihood() -> None:
    z, found = latents(30), latents(30, seed=1)
    log_variance = latents(30, seed=2)
    q = torch.distributions.Normal(found, (0.5 * log_variance).exp())
    expected = -q.log_prob(z).sum(-1).mean() - z.shape[1] * 0.5 * math.log(2 * math.pi)
    loss = PosteriorDistance().forward(Inference(found, log_variance), at(z))
    torch.testing.assert_close(loss, expected)


def test_a_constant_answer_pays_the_posterior_distance_for_its_width() -> None:
    """The best constant is as wide as z; one that knows z better costs less."""
    z = latents(4000)
    distance = PosteriorDistance()
    widths = z.var(0, correction=0).log().expand_as(z)
    constant = float(distance.forward(Inference(z.mean(0).expand_as(z), widths), at(z)))
    for other in (widths - 1, widths + 1):
        worse = float(distance.forward(Inference(z.mean(0).expand_as(z), other), at(z)))
        assert worse > constant
    noise = 0.5 * latents(4000, seed=1)
    known = Inference(z + noise, noise.var(0).log().expand_as(z))
    assert float(distance.forward(known, at(z))) < constant - 0.5


@pytest.mark.parametrize(
    "distance", [ContrastiveDistance(), NormalizedDistance(), WithVarianceFloor()], ids=repr
)
def test_one_particle_has_none_to_be_compared_with(distance: ConformationDistance) -> None:
    name = type(distance).__name__
    with pytest.raises(ValueError, match=f"{name} compares .* needs at least 2, found 1"):
        distance.forward(at(latents(1)), at(latents(1)))


def test_bad_options() -> None:
    with pytest.raises(ValueError, match="temperature must be positive, found 0"):
        ContrastiveDistance(0)
    with pytest.raises(ValueError, match="found floor=0 and floor_weight=1"):
        WithVarianceFloor(floor=0)
    with pytest.raises(ValueError, match=r"found floor=0\.5 and floor_weight=-1"):
        WithVarianceFloor(floor_weight=-1)
