from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cryo_disentangle.metrics.permutations import Intervention, TrueGenerator
from cryo_disentangle.types import Pose
from tests.metrics.toy_models import SIDE, ToyModel, toy_batch


@settings(max_examples=20)
@given(st.integers(2, 9), st.integers(-20, 20), st.integers(0, 100))
def test_nobody_keeps_his_own_and_nothing_is_lost(count: int, steps: int, seed: int) -> None:
    trades = Intervention(toy_batch(count), None, seed, hide_pose=False)
    values = torch.arange(count)
    permuted = trades.permute_rows(values, steps)
    assert permuted.sort().values.tolist() == values.tolist()
    assert bool((permuted == values).any()) == (steps % count == 0)
    torch.testing.assert_close(trades.permute_rows(permuted, -steps), values)


def test_translations_go_with_their_rotations() -> None:
    batch = toy_batch(6)
    pose = Intervention(batch, None, 0, hide_pose=False).permute_pose(
        Pose(batch["rotation"], batch["translation"]), 1
    )
    assert pose.translation is not None
    for rotation, translation in zip(pose.rotation, pose.translation, strict=True):
        (source,) = (batch["rotation"] == rotation).all(2).all(1).nonzero()[0].tolist()
        assert torch.equal(translation, batch["translation"][source])


def test_particles_and_seed_decide_the_permutation() -> None:
    values = torch.arange(50)

    def permuted(seed: int, first: int) -> list[int]:
        batch = toy_batch(50, first=first)
        return Intervention(batch, None, seed, hide_pose=False).permute_rows(values, 1).tolist()

    torch.manual_seed(0)
    expected = permuted(0, 0)
    torch.manual_seed(1)
    assert permuted(0, 0) == expected
    assert permuted(1, 0) != expected
    assert permuted(0, 7) != expected


@pytest.mark.parametrize("hide_pose", [True, False])
def test_what_is_shown(hide_pose: bool) -> None:
    batch = toy_batch(4)
    pose = Pose(batch["rotation"].flip(0), batch["translation"].flip(0))
    trades = Intervention(batch, None, 0, hide_pose=hide_pose)
    shown = trades.show(TrueGenerator(ToyModel().generate), batch["factors"], pose)
    torch.testing.assert_close(ToyModel().infer(shown).mean, batch["factors"])
    assert ("rotation" in shown) == ("translation" in shown) == (not hide_pose)
    if not hide_pose:
        assert torch.equal(shown["rotation"], pose.rotation)
        assert shown["translation"] is pose.translation
    assert "rotation" in batch


def test_a_pose_without_translation_shows_none() -> None:
    batch = toy_batch(4)
    trades = Intervention(batch, None, 0, hide_pose=False)
    generator = TrueGenerator(lambda z, pose, batch: batch["images"])  # noqa: ARG005
    assert "translation" not in trades.show(generator, batch["factors"], Pose(batch["rotation"]))


@pytest.mark.parametrize("side", [SIDE, SIDE - 1])
def test_noise_is_white_and_that_of_a_real_image(side: int) -> None:
    batch = toy_batch(400)
    batch["images"] = batch["images"][:, :side, :side]
    generator = TrueGenerator(lambda z, pose, batch: torch.zeros_like(batch["images"]))  # noqa: ARG005
    trades = Intervention(batch, 0.5, 0, hide_pose=True)
    noise, more = (
        trades.show(generator, batch["factors"], Pose(batch["rotation"]))["images"]
        for _ in range(2)
    )
    assert noise.shape == (400, side, side)
    assert float(noise.std()) == pytest.approx(0.5, rel=0.03)
    assert not torch.equal(noise, more)
    wrapped = torch.equal(noise[:, 0], noise[:, -1]) and torch.equal(noise[..., 0], noise[..., -1])
    assert wrapped == bool(side % 2)
