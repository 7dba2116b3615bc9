"""Groups of particles whose latents differ in the mean."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from cryo_disentangle.metrics.functional.group_leak import group_leak, view_group_leak

N = 2000


def test_the_share_between_groups_is_that_of_the_variance() -> None:
    generator = np.random.default_rng(0)
    groups = generator.integers(0, 10, N)
    z = np.stack([generator.normal(size=N), generator.normal(size=N) + groups % 2], 1)
    found = group_leak(z, groups)
    assert found.share.numpy() == pytest.approx([0.0, 0.2], abs=0.03)
    assert found.p_value[1] == pytest.approx(1 / 201)
    assert found.p_value[0] > 0.05


def test_as_many_groups_as_rows_and_constants_tell_nothing() -> None:
    z = torch.randn(30, 2, generator=torch.Generator().manual_seed(0))
    for groups in (torch.zeros(30), torch.arange(30)):
        found = group_leak(z, groups)
        assert found.share.tolist() == [0, 0]
        assert found.p_value.tolist() == [1, 1]
    z[:, 0] = 3
    assert float(group_leak(z, torch.arange(30) % 2).p_value[0]) == 1


def test_many_small_groups_do_not_leak_by_chance() -> None:
    generator = np.random.default_rng(0)
    found = group_leak(generator.standard_cauchy((N, 3)), generator.integers(0, 400, N))
    assert float(found.p_value.min()) > 0.02


def test_views_and_angles_in_the_plane_are_told_apart() -> None:
    turned = Rotation.random(N, random_state=0)
    matrices, psi = turned.as_matrix(), turned.inv().as_euler("ZYZ")[:, 2]
    noise = np.random.default_rng(0).normal(size=(N, 1))
    by_view = view_group_leak(matrices[:, 2, 2:] + noise, matrices)
    by_angle = view_group_leak(np.cos(psi)[:, None] + noise, matrices)
    assert by_view["view"].share.item() > 0.15
    assert by_view["in_plane"].p_value.item() > 0.01
    assert by_angle["in_plane"].share.item() > 0.2
    assert by_angle["view"].p_value.item() > 0.01


def test_bad_groups() -> None:
    z = np.zeros((20, 1))
    with pytest.raises(ValueError, match=r"groups must have shape \(20,\)"):
        group_leak(z, np.zeros(19))
    with pytest.raises(ValueError, match="permutations must be at least 2"):
        group_leak(z, np.zeros(20), permutations=1)
