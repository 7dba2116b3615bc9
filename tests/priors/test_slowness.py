"""Findings on trajectories: sparse independent steps identify, normal ones don't."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from cryo_disentangle.priors import LaplaceTransition, slowness_identifiability
from cryo_disentangle.types import ParticleBatch


def _laplace(count: int, dim: int, generator: torch.Generator) -> Tensor:
    waits = torch.empty(2, count, dim).exponential_(generator=generator)
    return waits[0] - waits[1]


def _frames(kind: str, count: int, dim: int, seed: int) -> tuple[Tensor, Tensor]:
    """Latents of pairs of frames whose steps are mixed by a random matrix."""
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, dim, generator=generator)
    steps = _laplace(count, dim, generator)
    if kind == "normal":
        steps = normal
    elif kind == "one normal":
        steps[:, 0] = normal[:, 0]
    elif kind == "together":
        steps = normal * torch.empty(count, 1).exponential_(generator=generator).sqrt()
    elif kind == "uniform":
        steps = torch.rand(count, dim, generator=generator)
    elif kind == "jumps":
        steps = normal * (torch.rand(count, dim, generator=generator) < 0.2) + 0.05 * steps
    first = torch.randn(count, dim, generator=generator)
    return first, first + steps @ torch.randn(dim, dim, generator=generator).T


@pytest.mark.parametrize("count", [2000, 20_000])
@pytest.mark.parametrize("dim", [2, 4])
@pytest.mark.parametrize("kind", ["laplace", "one normal", "jumps"])
def test_sparse_independent_steps_identify(kind: str, dim: int, count: int) -> None:
    for seed in range(3):
        found = slowness_identifiability(*_frames(kind, count, dim, seed))
        assert found.identifiable, found
        assert found.verdict.startswith("Identifiable")


@pytest.mark.parametrize("count", [2000, 20_000])
@pytest.mark.parametrize("dim", [2, 4])
@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_steps_that_are_not_sparse_are_flagged(kind: str, dim: int, count: int) -> None:
    for seed in range(3):
        found = slowness_identifiability(*_frames(kind, count, dim, seed))
        assert not found.identifiable
        assert "not clearly sparser than normally" in found.verdict


@pytest.mark.parametrize("count", [2000, 20_000])
def test_coordinates_that_move_together_are_flagged(count: int) -> None:
    for seed in range(3):
        found = slowness_identifiability(*_frames("together", count, 2, seed))
        assert bool(found.sparse.all())
        assert not found.identifiable
        assert found.together == [(0, 1)]
        assert (
            "large ones come at the same time in these directions of the latent space: 1 and 2"
            in (found.verdict)
        )


def test_shape_and_kurtosis_are_those_of_the_distribution() -> None:
    laplace = slowness_identifiability(*_frames("laplace", 40_000, 2, 0))
    normal = slowness_identifiability(*_frames("normal", 40_000, 2, 0))
    torch.testing.assert_close(laplace.shape, torch.ones(2).double(), rtol=0, atol=0.07)
    torch.testing.assert_close(laplace.kurtosis, torch.full((2,), 6.0).double(), rtol=0, atol=0.8)
    torch.testing.assert_close(normal.shape, torch.full((2,), 2.0).double(), rtol=0, atol=0.1)
    torch.testing.assert_close(normal.kurtosis, torch.full((2,), 3.0).double(), rtol=0, atol=0.2)


def test_samples_of_the_prior_over_uneven_intervals_identify() -> None:
    time = torch.zeros(4000, 2)
    time[:, 1] = torch.tensor([1.0, 25.0]).repeat(2000)
    batch: ParticleBatch = {
        "images": torch.zeros(0),
        "index": torch.arange(8000).reshape(-1, 2),
        "time": time,
    }
    draw = LaplaceTransition().sample(batch, 2, torch.Generator().manual_seed(0))
    with_interval = slowness_identifiability(draw[:, 0], draw[:, 1], time[:, 1])
    assert with_interval.identifiable
    torch.testing.assert_close(with_interval.shape, torch.ones(2).double(), rtol=0, atol=0.15)
    # Taken for even, long intervals look like times when all coordinates move together.
    assert not slowness_identifiability(draw[:, 0], draw[:, 1]).identifiable


def test_refuses_bad_input() -> None:
    first, second = _frames("laplace", 500, 2, 0)
    with pytest.raises(ValueError, match=r"at least 200 pairs are needed.*found \(50, 2\)"):
        slowness_identifiability(first[:50], second[:50])
    with pytest.raises(ValueError, match=r"same shape \(N, Z\), found \(500, 2\) and \(500, 1\)"):
        slowness_identifiability(first, second[:, :1])
    with pytest.raises(ValueError, match="not finite"):
        slowness_identifiability(first, second * math.nan)
    with pytest.raises(ValueError, match=r"positive intervals of shape \(500,\) are needed"):
        slowness_identifiability(first, second, torch.zeros(500))
    with pytest.raises(ValueError, match=r"coordinates \[0\] .* do not vary"):
        slowness_identifiability(first, first + (second - first) * torch.tensor([0.0, 1.0]))
