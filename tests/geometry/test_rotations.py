from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from torch import Tensor

from cryo_disentangle import geometry
from cryo_disentangle.geometry.rotations import (
    angular_distance,
    check_rotations,
    geodesic_distance,
    quaternion_to_rotation,
    rotation_to_euler_zyz,
    rotation_to_quaternion,
    rotation_to_rotation_vector,
    rotation_to_six_d,
    rotation_vector_to_rotation,
    six_d_to_rotation,
)
from tests.helpers import shared

seeds = st.integers(0, 2**31 - 1)


def rotations(seed: int, n: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return geometry.random_rotations(n, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(shared("golden/cryodrgn/rotations.npz")) as archive:
        return {name: torch.from_numpy(archive[name]) for name in archive.files}


def test_relion_angles_match_cryodrgn(golden: dict[str, Tensor]) -> None:
    rotation = geometry.euler_zyz_to_rotation(golden["euler_deg"])
    torch.testing.assert_close(rotation, golden["R_from_relion"], rtol=0, atol=1e-12)
    rotation32 = geometry.euler_zyz_to_rotation(golden["euler_deg"].float())
    torch.testing.assert_close(rotation32.double(), golden["R_from_relion"], rtol=0, atol=1e-5)


def test_cryosparc_vectors_match_cryodrgn(golden: dict[str, Tensor]) -> None:
    rotation = rotation_vector_to_rotation(golden["rotvec"])
    torch.testing.assert_close(rotation.float(), golden["R_expmap_T"].float(), rtol=0, atol=1e-5)


def test_quaternions_and_six_d_match_cryodrgn(golden: dict[str, Tensor]) -> None:
    rotation = golden["R"]
    torch.testing.assert_close(
        quaternion_to_rotation(golden["quat"]), golden["quat_to_R"], rtol=0, atol=2e-6
    )
    torch.testing.assert_close(six_d_to_rotation(golden["s2s2"]), rotation, rtol=0, atol=2e-6)
    torch.testing.assert_close(rotation_to_six_d(rotation), golden["s2s2"])


def test_euler_angles_back_match_cryodrgn(golden: dict[str, Tensor]) -> None:
    angles = rotation_to_euler_zyz(golden["R"].double())
    again = geometry.euler_zyz_to_rotation(angles)
    theirs = geometry.euler_zyz_to_rotation(golden["R_to_relion_scipy"].double())
    torch.testing.assert_close(again, theirs, rtol=0, atol=2e-6)


@given(seeds)
@settings(max_examples=25)
def test_every_name_of_a_rotation_leads_back(seed: int) -> None:
    rotation = rotations(seed)
    for to, back in [
        (rotation_to_euler_zyz, geometry.euler_zyz_to_rotation),
        (rotation_to_rotation_vector, rotation_vector_to_rotation),
        (rotation_to_quaternion, quaternion_to_rotation),
        (rotation_to_six_d, six_d_to_rotation),
    ]:
        torch.testing.assert_close(back(to(rotation)), rotation, rtol=0, atol=1e-9)


@pytest.mark.parametrize("tilt", [0.0, 180.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euler_angles_at_the_poles(tilt: float, dtype: torch.dtype) -> None:
    angles = torch.tensor([[25.0, tilt, -40.0]], dtype=dtype)
    rotation = geometry.euler_zyz_to_rotation(angles)
    found = rotation_to_euler_zyz(rotation)
    assert found[0, 0] == 0
    torch.testing.assert_close(geometry.euler_zyz_to_rotation(found), rotation, rtol=0, atol=2e-6)


def test_zero_vector_is_the_identity() -> None:
    identity = rotation_vector_to_rotation(torch.zeros(2, 3))
    torch.testing.assert_close(identity, torch.eye(3).expand(2, 3, 3))


@given(seeds)
@settings(max_examples=25)
def test_geodesic_distance_is_bi_invariant(seed: int) -> None:
    first, second, turn = rotations(seed).split([3, 3, 2])
    turn = turn[:1]
    distance = geodesic_distance(first, second)
    for moved in [(turn @ first, turn @ second), (first @ turn, second @ turn)]:
        torch.testing.assert_close(geodesic_distance(*moved), distance)
    expected = torch.from_numpy(
        (
            Rotation.from_matrix(first.numpy()).inv() * Rotation.from_matrix(second.numpy())
        ).magnitude()
    )
    torch.testing.assert_close(distance, expected)


@pytest.mark.parametrize("angle", [1e-6, 1e-3, 1.0, math.pi - 1e-3])
def test_geodesic_distance_is_accurate_at_both_ends(angle: float) -> None:
    turn = geometry.in_plane_rotation(torch.tensor([angle], dtype=torch.float64)).float()
    distance = geodesic_distance(torch.eye(3)[None], turn)
    assert float(distance) == pytest.approx(angle, rel=1e-5)


def test_uniform_rotations_have_the_mean_distance_of_chance() -> None:
    first, second = rotations(0, 20_000).chunk(2)
    distance = geodesic_distance(first, second)
    expected = math.pi / 2 + 2 / math.pi
    assert float(distance.mean()) == pytest.approx(expected, abs=4 * 0.7 / 100)


def test_angular_distance_wraps() -> None:
    distance = angular_distance(torch.tensor(0.1), torch.tensor(2 * math.pi - 0.1))
    assert float(distance) == pytest.approx(0.2, abs=1e-6)


def test_in_plane_rotation_turns_x_towards_y() -> None:
    turned = geometry.in_plane_rotation(torch.tensor(math.pi / 2)) @ torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(turned, torch.tensor([0.0, 1, 0]), rtol=0, atol=1e-6)


def test_what_is_no_rotation_is_refused_by_its_row() -> None:
    good = rotations(1, 4)
    check_rotations(good, "poses.pkl")
    with pytest.raises(ValueError, match=r"poses.pkl: rotations must have shape \(N, 3, 3\)"):
        check_rotations(good[:, :2], "poses.pkl")
    for damage in (
        torch.eye(3) * 1.1,
        torch.diag(torch.tensor([1.0, 1, -1])),
        torch.eye(3) * math.nan,
    ):
        bad = good.clone()
        bad[2] = damage
        with pytest.raises(ValueError, match=r"poses.pkl, row 3: not a rotation matrix"):
            check_rotations(bad, "poses.pkl")
