"""Latents of particles at temperatures and of pairs of frames."""

from __future__ import annotations

import torch
from torch import Tensor

COUNT = 1500


def at_temperatures(*, frozen: bool) -> tuple[Tensor, Tensor]:
    """Latents of two mixed motions, and their temperatures."""
    generator = torch.Generator().manual_seed(0)
    kelvin = torch.tensor([150.0, 220.0, 300.0])[torch.arange(COUNT) % 3]
    factors = torch.randn(COUNT, 2, generator=generator) * (kelvin / 300).sqrt()[:, None]
    if frozen:
        factors[kelvin < 200, 1] *= 0.1
    return factors @ torch.tensor([[1.0, 1.0], [-1.0, 1.0]]), kelvin


def frames(*, sparse: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Latents, indices and times of pairs of frames."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(COUNT // 2, 2, generator=generator)
    step = 0.3 * torch.randn(COUNT // 2, 2, generator=generator)
    if sparse:
        step = step.abs() ** 2 * step.sign()
    index = torch.arange(COUNT).reshape(-1, 2)
    return torch.stack([first, first + step], 1).flatten(0, 1), index, index.float() % 2
