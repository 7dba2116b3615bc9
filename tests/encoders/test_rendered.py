"""Posteriors found by rendering: exact where slices are linear, the best of several elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cryo_disentangle.encoders import RenderedPosterior

Render = Callable[[Tensor], Tensor]


def linear(count: int, dim: int, seed: int) -> tuple[Tensor, Tensor, Render]:
    """Directions (B, M, Z), offsets (B, M), and what renders them."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, 9, dim, generator=generator)
    offsets = torch.randn(count, 9, generator=generator)
    return directions, offsets, lambda z: z @ directions.mT + offsets[:, None]


@settings(max_examples=20)
@given(dim=st.integers(1, 3), variance=st.floats(0.3, 3.0), seed=st.integers(0, 1000))
def test_linear_slices_have_the_posterior_of_ridge_regression(
    dim: int, variance: float, seed: int
) -> None:
    directions, offsets, render = linear(4, dim, seed)
    images = torch.randn(4, 9, generator=torch.Generator().manual_seed(seed + 1))
    posterior = RenderedPosterior(9, dim, newton_steps=1).eval()
    posterior.noise_variance.fill_(variance)
    curvature = directions.mT @ directions / variance + torch.eye(dim)
    force = (directions.mT @ (images - offsets)[..., None])[..., 0] / variance
    mean, log_variance = posterior(images, render)
    expected = torch.linalg.solve(curvature, force)
    torch.testing.assert_close(mean, expected.clamp(-1, 1), atol=2e-4, rtol=1e-3)
    spread = -curvature.diagonal(dim1=1, dim2=2).log()
    torch.testing.assert_close(log_variance, spread, atol=2e-3, rtol=1e-3)


def waves(z: Tensor) -> Tensor:
    """Slices that several conformations explain almost as well, (B, P, 1) to (B, P, 8)."""
    phase = torch.arange(8) / 2
    return torch.sin(5 * z + phase) + 0.3 * z * phase


@pytest.mark.parametrize("starts", [2, 33])
def test_the_best_of_several_starts_is_the_maximum(starts: int) -> None:
    truth = torch.linspace(-1.5, 1.5, 12)[:, None]
    noise = 0.1 * torch.randn(12, 8, generator=torch.Generator().manual_seed(0))
    images = waves(truth[:, None])[:, 0] + noise
    grid = torch.linspace(-2, 2, 33).tolist()
    posterior = RenderedPosterior(8, 1, grid=grid, starts=starts, newton_steps=6).eval()
    posterior.noise_variance.fill_(0.01)
    mean, _ = posterior(images, waves)
    fine = torch.linspace(-2, 2, 8001)[None, :, None].expand(12, -1, -1)
    energy = (images[:, None] - waves(fine)).square().sum(-1) / 0.01 + fine[..., 0].square()
    best = fine[0, energy.argmin(1)]
    torch.testing.assert_close(mean, best, atol=5e-3, rtol=0)


def test_steps_never_go_up() -> None:
    images = waves(torch.full((6, 1, 1), 1.4))[:, 0]

    def energy(steps: int) -> Tensor:
        posterior = RenderedPosterior(8, 1, grid=(-1.0,), newton_steps=steps).eval()
        posterior.noise_variance.fill_(0.01)
        mean, _ = posterior(images, waves)
        return (images - waves(mean[:, None])[:, 0]).square().sum(-1) / 0.01 + mean[:, 0].square()

    energies = torch.stack([energy(steps) for steps in range(1, 8)])
    assert (energies.diff(dim=0) <= 1e-4).all()


def test_training_learns_what_is_left_of_images_and_evaluation_does_not() -> None:
    _, offsets, render = linear(64, 1, 0)
    images = offsets + 0.5 * torch.randn(64, 9, generator=torch.Generator().manual_seed(1))
    posterior = RenderedPosterior(9, 1)
    posterior.eval()
    posterior(images, render)
    assert float(posterior.noise_variance) == 1
    posterior.train()
    for _ in range(200):
        posterior(images, render)
    mean, _ = posterior(images, render)
    left = (images - render(mean[:, None])[:, 0]).square().mean()
    torch.testing.assert_close(posterior.noise_variance, left, rtol=1e-3, atol=0)
    assert "noise_variance" in posterior.state_dict()


def test_full_precision_under_autocast() -> None:
    directions, _, render = linear(4, 2, 3)
    posterior = RenderedPosterior(9, 2).eval()
    images = directions.sum(-1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mean, _ = posterior(images, render)
    torch.testing.assert_close(mean, posterior(images, render)[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": ()}, r"needs positive numbers and a grid, found .*grid=\[\]"),
        ({"newton_steps": 0}, "found .*newton_steps=0"),
        ({"grid": (0.0, 1.0), "starts": 5}, "starts is 5, but the grid has 4 points"),
    ],
)
def test_searches_that_find_nothing_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RenderedPosterior(9, 2, **options)  # type: ignore[arg-type]
