"""Identifiability of latents by temperatures and pairs of frames."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.judgement.inferred import InferredParticles
from tests.labelled_latents import COUNT, at_temperatures, frames


def table(latents: Tensor, log_variance: float | Tensor = -3.0, **more: Any) -> InferredParticles:
    """Particles whose latents, and how sure a model is of them, are known."""
    width = torch.as_tensor(log_variance).expand_as(latents).float()
    frames = more.pop("frames", None)
    return replace(InferredParticles.of(latents, width, **more), frames=frames)


@pytest.mark.parametrize("frozen", [True, False])
def test_temperatures(frozen: bool) -> None:
    latents, kelvin = at_temperatures(frozen=frozen)
    found = judge_identifiability(table(latents, temperature=kelvin))
    assert list(found) == ["temperature"]
    words, scores = found["temperature"]
    assert scores["identifiable"] == frozen
    assert words.startswith("Identifiable" if frozen else "Not identifiable")
    assert (scores["smallest_separation"] > 1) == frozen
    assert scores["rank"] <= scores["required_rank"]


@pytest.mark.parametrize("sparse", [True, False])
def test_pairs_of_frames(sparse: bool) -> None:
    latents, index, time = frames(sparse=sparse)
    found = judge_identifiability(table(latents, time=time.flatten(), frames=index))
    assert list(found) == ["slowness"]
    words, scores = found["slowness"]
    assert scores["identifiable"] == sparse
    assert words.startswith("Identifiable" if sparse else "Not identifiable")
    assert (scores["largest_exponent"] < 1.5) == sparse
    assert scores["largest_dependence"] < 0.2


def test_pairs_at_temperatures_are_judged_by_both() -> None:
    latents, index, time = frames(sparse=True)
    kelvin = at_temperatures(frozen=True)[1]
    pairs = table(latents, time=time.flatten(), temperature=kelvin, frames=index)
    assert set(judge_identifiability(pairs)) == {"slowness", "temperature"}


def test_single_particles_of_one_kind_are_not_looked_at() -> None:
    assert not judge_identifiability(table(torch.randn(COUNT, 2)))


def test_coordinates_that_are_not_used_are_left_out() -> None:
    latents, kelvin = at_temperatures(frozen=True)
    more = torch.cat([latents, 0.01 * torch.randn(COUNT, 2)], dim=1)
    spread = torch.tensor([-3.0, -3.0, 0.0, 0.0])
    plain = judge_identifiability(table(latents, temperature=kelvin))
    assert judge_identifiability(table(more, spread, temperature=kelvin)) == plain
    collapsed = judge_identifiability(table(more, 4.0, temperature=kelvin))
    words, scores = collapsed["temperature"]
    assert "uses none of its latent coordinates" in words
    assert not scores


def test_what_can_not_be_judged_is_told() -> None:
    latents, _ = at_temperatures(frozen=True)
    kelvin = torch.full((COUNT,), 300.0)
    words, scores = judge_identifiability(table(latents, temperature=kelvin))["temperature"]
    assert words == "Can't be judged: at least two temperatures are needed, found [300.0]."
    assert not scores
