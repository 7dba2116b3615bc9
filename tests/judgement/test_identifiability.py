"""Identifiability of latents by temperatures and pairs of frames."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from cryo_disentangle.judgement import judge_identifiability
from cryo_disentangle.types import Inference
from tests.labelled_latents import COUNT, at_temperatures, frames


class _Known:
    """A model to which conformations, and how sure it is of them, are known."""

    def __init__(self, latents: Tensor, log_variance: float | Tensor = -3.0) -> None:
        self.latents, self.log_variance = latents, torch.as_tensor(log_variance)
        self.asked = 0

    def infer(self, batch: Any) -> Inference:
        self.asked += 1
        mean = self.latents[batch["index"]]
        return Inference(mean, self.log_variance.expand_as(mean).float())


def batches(samples: int = COUNT, **more: Tensor) -> Iterator[Any]:
    """Batches of 100; tensors of more than one axis are those of pairs."""
    whole = {"index": torch.arange(COUNT), **more}
    for start in range(0, samples, 100):
        yield {key: value[start : start + 100] for key, value in whole.items()}


@pytest.mark.parametrize("frozen", [True, False])
def test_temperatures(frozen: bool) -> None:
    latents, kelvin = at_temperatures(frozen=frozen)
    found = judge_identifiability(_Known(latents), batches(temperature=kelvin))
    assert list(found) == ["temperature"]
    words, scores = found["temperature"]
    assert scores["identifiable"] == frozen
    assert words.startswith("Identifiable" if frozen else "Not identifiable")
    assert (scores["smallest_separation"] > 1) == frozen
    assert scores["rank"] <= scores["required_rank"]


@pytest.mark.parametrize("sparse", [True, False])
def test_pairs_of_frames(sparse: bool) -> None:
    latents, index, time = frames(sparse=sparse)
    samples = batches(COUNT // 2, index=index, time=time)
    found = judge_identifiability(_Known(latents), samples)
    assert list(found) == ["slowness"]
    words, scores = found["slowness"]
    assert scores["identifiable"] == sparse
    assert words.startswith("Identifiable" if sparse else "Not identifiable")
    assert (scores["largest_exponent"] < 1.5) == sparse
    assert scores["largest_dependence"] < 0.2


def test_pairs_at_temperatures_are_judged_by_both() -> None:
    latents, index, time = frames(sparse=True)
    kelvin = at_temperatures(frozen=True)[1].reshape(-1, 2)
    samples = batches(COUNT // 2, index=index, time=time, temperature=kelvin)
    assert set(judge_identifiability(_Known(latents), samples)) == {"slowness", "temperature"}


def test_single_particles_of_one_kind_are_not_looked_at() -> None:
    model = _Known(torch.randn(COUNT, 2))
    assert not judge_identifiability(model, batches())
    assert not judge_identifiability(model, [])
    assert not model.asked


def test_coordinates_that_are_not_used_are_left_out() -> None:
    latents, kelvin = at_temperatures(frozen=True)
    more = torch.cat([latents, 0.01 * torch.randn(COUNT, 2)], dim=1)
    spread = torch.tensor([-3.0, -3.0, 0.0, 0.0])
    plain = judge_identifiability(_Known(latents), batches(temperature=kelvin))
    assert judge_identifiability(_Known(more, spread), batches(temperature=kelvin)) == plain
    collapsed = judge_identifiability(_Known(more, 0.0), batches(temperature=kelvin))
    words, scores = collapsed["temperature"]
    assert "uses none of its latent coordinates" in words
    assert not scores


def test_what_can_not_be_judged_is_told() -> None:
    latents, _ = at_temperatures(frozen=True)
    kelvin = torch.full((COUNT,), 300.0)
    words, scores = judge_identifiability(_Known(latents), batches(temperature=kelvin))[
        "temperature"
    ]
    assert words == "Can't be judged: at least two temperatures are needed, found [300.0]."
    assert not scores
