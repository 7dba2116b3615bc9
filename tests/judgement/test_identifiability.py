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


def table(latents: Tensor, log_variance: float | Tensor = -8.0, **more: Any) -> InferredParticles:
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
    assert words.startswith(f"{'Determined' if frozen else 'Not determined'} by temperature")
    assert words.endswith("Judged on 1,500 particles.")
    assert (scores["smallest_separation"] > 1) == frozen
    assert (scores["largest_angle"] < 20) == frozen
    assert scores["rank"] <= scores["required_rank"]


@pytest.mark.parametrize("sparse", [True, False])
def test_pairs_of_frames(sparse: bool) -> None:
    latents, index, time = frames(sparse=sparse)
    found = judge_identifiability(table(latents, time=time.flatten(), frames=index))
    assert list(found) == ["slowness"]
    words, scores = found["slowness"]
    assert scores["identifiable"] == sparse
    assert words.startswith(f"{'Determined' if sparse else 'Not determined'} by time")
    assert words.endswith("Judged on 750 pairs of frames.")
    assert (scores["largest_exponent"] < 1.5) == sparse
    assert (scores["smallest_kurtosis"] > 4) == sparse
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
    spread = torch.tensor([-8.0, -8.0, 0.0, 0.0])
    plain = judge_identifiability(table(latents, temperature=kelvin))
    assert judge_identifiability(table(more, spread, temperature=kelvin)) == plain
    collapsed = judge_identifiability(table(more, 4.0, temperature=kelvin))
    words, scores = collapsed["temperature"]
    assert "uses none of its latent coordinates" in words
    assert not scores


def test_noise_that_differs_between_particles_is_no_movement() -> None:
    """Of normal steps, which the widths of the posteriors tell from sparse ones."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(6000, 2, generator=generator)
    z = torch.stack([first, first + 0.3 * torch.randn(6000, 2, generator=generator)], 1)
    error = 0.05 * torch.exp(3 * torch.randn(6000, 2, 2, generator=generator))
    gain = 1 / (1 + error)
    mean = gain * (z + error.sqrt() * torch.randn(6000, 2, 2, generator=generator))
    index = torch.arange(12_000).reshape(-1, 2)
    told = table(mean.flatten(0, 1), (1 - gain).log().flatten(0, 1), frames=index)
    assert judge_identifiability(told)["slowness"].scores["identifiable"] == 0
    untold = InferredParticles.of(mean.flatten(0, 1))
    found = judge_identifiability(replace(untold, frames=index))["slowness"]
    assert found.scores["identifiable"] == 1


def test_a_full_covariance_is_taken_before_variances() -> None:
    latents, kelvin = at_temperatures(frozen=True)
    particles = table(latents, temperature=kelvin)
    full = torch.diag_embed(torch.full((COUNT, 2), -8.0).exp())
    found = [
        judge_identifiability(each)["temperature"].scores["smallest_separation"]
        for each in (
            particles,
            replace(particles, covariance=full),
            replace(particles, covariance=0.05 + full),
        )
    ]
    assert found[1] == pytest.approx(found[0], rel=1e-6)
    assert found[2] != pytest.approx(found[0], rel=1e-2)


@pytest.mark.parametrize("turned", [0.0, 60.0])
def test_half_sets_must_agree(turned: float) -> None:
    latents, kelvin = at_temperatures(frozen=True)
    half = torch.arange(COUNT) % 2
    angle = torch.tensor(turned).deg2rad()
    other = latents @ torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]])
    both = torch.where(half[:, None] == 0, latents, other)
    known = table(both, temperature=kelvin, half=half)
    words, scores = judge_identifiability(known)["temperature"]
    assert scores["identifiable"] == (turned == 0)
    assert (scores["largest_half_angle"] < 15) == (turned == 0)
    assert "xes of the two half sets are" in words
    index = torch.arange(COUNT).reshape(-1, 2)
    # No pair has both frames in one half set.
    pairs = table(frames(sparse=True)[0], half=half, frames=index)
    assert "largest_half_angle" not in judge_identifiability(pairs)["slowness"].scores


def test_what_can_not_be_judged_is_told() -> None:
    latents, _ = at_temperatures(frozen=True)
    kelvin = torch.full((COUNT,), 300.0)
    words, scores = judge_identifiability(table(latents, temperature=kelvin))["temperature"]
    assert words == "Can't be judged: at least two temperatures are needed, found [300.0]."
    assert not scores
