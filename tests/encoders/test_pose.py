"""Pose heads: always rotations, started apart, and able to learn every angle."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cryo_disentangle.encoders import InPlanePoseHead, PoseHead
from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.geometry.rotations import check_rotations, geodesic_distance

HEADS = [InPlanePoseHead, PoseHead]
Head = Callable[..., nn.Module]


def make(head: Head, hypotheses: int = 1, coefficients: int = 6) -> nn.Module:
    torch.manual_seed(0)
    return head(coefficients, hypotheses=hypotheses, width=16, layers=1)


def last_layer(head: nn.Module) -> nn.Linear:
    layer = head.network.main[-1]  # type: ignore[union-attr,index]
    assert isinstance(layer, nn.Linear)
    return layer


def offset(head: nn.Module) -> Tensor:
    return head.get_buffer("offset")


def force(head: nn.Module, vector: Tensor) -> None:
    """Makes a head of one hypothesis see this vector, whatever the image."""
    with torch.no_grad():
        last_layer(head).weight.zero_()
        last_layer(head).bias.copy_(vector - offset(head))


@settings(max_examples=20)
@given(
    st.integers(0, 2**31), st.sampled_from(HEADS), st.integers(1, 6), st.floats(-20, 20), st.data()
)
def test_outputs_are_rotations(
    seed: int, head: Head, hypotheses: int, exponent: float, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 5))
    images = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    rotation = make(head, hypotheses)(images * 10**exponent)
    assert rotation.shape == (count, hypotheses, 3, 3)
    check_rotations(rotation.detach().flatten(0, 1), "head")


@pytest.mark.parametrize(
    "vector",
    [
        [0.0] * 6,
        [1e-30] * 6,
        [1e30] * 6,
        [1, 2, 3, -2, -4, -6],
        [0, 0, 0, 1, 0, 0],
        [1, 0, 0, 1, 2e-3, 0],
    ],
)
def test_vectors_that_hardly_define_a_rotation(vector: list[float]) -> None:
    head = make(PoseHead)
    force(head, torch.tensor(vector))
    images = torch.randn(3, 6)
    rotation = head(images)[:, 0]
    check_rotations(rotation.detach(), "head")
    rotation.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("vector", "angle"),
    [([0, 0], 0), ([3, 3], 45), ([-1e-30, 0], 180), ([0, -1e30], -90), ([-2, 2], 135)],
)
def test_direction_of_the_vector_is_the_angle(vector: list[float], angle: float) -> None:
    head = make(InPlanePoseHead)
    if angle == 180:
        # Too small to be a difference to the offset.
        offset(head).zero_()
    force(head, torch.tensor(vector))
    expected = in_plane_rotation(torch.tensor(math.radians(angle)))
    rotation = head(torch.randn(2, 6))[:, 0]
    torch.testing.assert_close(rotation.detach(), expected.expand(2, 3, 3))
    rotation.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in head.parameters() if p.grad is not None)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("hypotheses", [2, 4])
def test_hypotheses_start_apart(head: Head, hypotheses: int) -> None:
    rotation = make(head, hypotheses)(torch.randn(32, 6)).detach()
    distance = geodesic_distance(rotation[:, :, None], rotation[:, None])
    distance = distance + math.tau * torch.eye(hypotheses)
    assert float(distance.min()) > math.radians(20)


@pytest.mark.parametrize("head", HEADS)
def test_first_hypothesis_starts_near_the_identity(head: Head) -> None:
    rotation = make(head, 3)(torch.zeros(1, 6)).detach()[:, 0]
    assert float(geodesic_distance(rotation, torch.eye(3))) < math.radians(40)


def test_in_plane_rotations_leave_the_beam() -> None:
    rotation = make(InPlanePoseHead, 5)(torch.randn(4, 6)).detach()
    axis = torch.tensor([0.0, 0.0, 1.0]).expand(4, 5, 3)
    torch.testing.assert_close(rotation[..., 2], axis)
    torch.testing.assert_close(rotation[..., 2, :], axis)


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns(head: Head) -> None:
    module = make(head, 2)
    target = random_rotations(8, generator=torch.Generator().manual_seed(1))[:, None]
    (module(torch.randn(8, 6)) - target).square().sum().backward()
    assert all(p.grad is not None and float(p.grad.abs().max()) > 0 for p in module.parameters())


@pytest.mark.parametrize("head", HEADS)
def test_learns_rotations_from_anywhere(head: Head) -> None:
    """Trained on marks of rotations all around, the median error falls below 10 degrees."""
    generator = torch.Generator().manual_seed(2)
    if head is InPlanePoseHead:
        target = in_plane_rotation(math.tau * torch.rand(256, generator=generator))
    else:
        target = random_rotations(256, generator=generator)
    module = head(9, width=64, layers=1)
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        rotation = module(target.flatten(1))[:, 0]
        (rotation - target).square().sum((1, 2)).mean().backward()
        optimizer.step()
    error = geodesic_distance(module(target.flatten(1))[:, 0].detach(), target)
    assert float(error.median()) < math.radians(10)


@pytest.mark.parametrize("head", HEADS)
def test_autocast_keeps_rotations(head: Head) -> None:
    module = make(head, 3)
    with torch.autocast("cpu", torch.bfloat16):
        rotation = module(torch.randn(5, 6))
    assert rotation.dtype == torch.float32
    check_rotations(rotation.detach().flatten(0, 1), "head", tolerance=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_no_hypothesis_is_refused(head: Head) -> None:
    with pytest.raises(ValueError, match="at least one hypothesis, found 0"):
        head(6, hypotheses=0)
