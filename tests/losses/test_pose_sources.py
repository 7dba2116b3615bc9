"""Poses that interventions impose."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.geometry import in_plane_rotation, random_rotations
from cryo_disentangle.geometry.rotations import check_rotations
from cryo_disentangle.losses import InPlanePoses, ShuffledPoses, UniformPoses, shuffled_order
from cryo_disentangle.losses.pose_sources import PoseSource
from cryo_disentangle.types import Pose

_SOURCES: list[PoseSource] = [
    ShuffledPoses(),
    InPlanePoses(),
    UniformPoses("so2"),
    UniformPoses("so3"),
]


def rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=25)
@given(st.integers(2, 30), st.integers(0, 1000))
def test_a_shuffle_is_a_permutation_in_which_nobody_keeps_his_place(count: int, seed: int) -> None:
    order = shuffled_order(count, rng(seed))
    assert sorted(order.tolist()) == list(range(count))
    assert (order != torch.arange(count)).all()


def test_a_shuffle_gives_everybody_as_often() -> None:
    generator = rng(0)
    orders = torch.stack([shuffled_order(4, generator) for _ in range(3000)])
    shares = torch.nn.functional.one_hot(orders, 4).double().mean(0)
    expected = (1 - torch.eye(4, dtype=torch.float64)) / 3
    torch.testing.assert_close(shares, expected, atol=0.04, rtol=0)


def test_a_batch_of_one_cannot_be_shuffled() -> None:
    with pytest.raises(ValueError, match="at least 2 particles, found 1: change the batch size"):
        ShuffledPoses().draw(Pose(torch.eye(3)[None]), rng(0))


@pytest.mark.parametrize("source", _SOURCES, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rotations_of_the_same_type_and_translations_stay(
    source: PoseSource, dtype: torch.dtype
) -> None:
    pose = Pose(random_rotations(20, generator=rng(1), dtype=dtype), torch.rand(20, 2))
    drawn = source.draw(pose, rng(2))
    check_rotations(drawn.rotation, "drawn")
    assert drawn.rotation.dtype == dtype
    assert drawn.translation is pose.translation
    assert torch.equal(source.draw(pose, rng(2)).rotation, drawn.rotation)
    assert not torch.equal(source.draw(pose, rng(3)).rotation, drawn.rotation)
    assert (drawn.rotation - pose.rotation).flatten(1).abs().amax(1).min() > 1e-3


def test_turning_in_plane_keeps_the_viewing_direction() -> None:
    pose = Pose(random_rotations(20, generator=rng(1)))
    drawn = InPlanePoses().draw(pose, rng(2))
    torch.testing.assert_close(drawn.rotation[:, 2], pose.rotation[:, 2])


@pytest.mark.parametrize(("group", "square"), [("so2", 1 / 2), ("so3", 1 / 3)])
def test_uniform_poses_have_the_moments_of_their_group(group: str, square: float) -> None:
    pose = Pose(random_rotations(4000, generator=rng(1), dtype=torch.float64))
    drawn = UniformPoses(group).draw(pose, rng(2)).rotation  # type: ignore[arg-type]
    plane = drawn[:, :2, :2]
    assert plane.mean(0).abs().max() < 0.05
    assert plane.square().mean(0).sub(square).abs().max() < 0.03


def test_the_group_is_read_from_the_batch() -> None:
    in_plane = Pose(in_plane_rotation(torch.rand(9)))
    assert (UniformPoses().draw(in_plane, rng(0)).rotation[:, 2, 2] == 1).all()
    anywhere = Pose(random_rotations(9, generator=rng(1)))
    assert (UniformPoses().draw(anywhere, rng(0)).rotation[:, 2, 2] < 0.999).any()
