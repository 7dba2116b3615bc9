"""Latents with known axes: posteriors of conformations that were measured with known noise."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Table(NamedTuple):
    """Posterior means (..., Z), covariances (..., Z, Z) and true factors (..., Z)."""

    mean: Tensor
    covariance: Tensor
    factors: Tensor


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(g: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=g, dtype=torch.float64)


def laplace(g: torch.Generator, *shape: int) -> Tensor:
    """Of unit variance."""
    uniform = torch.rand(*shape, generator=g, dtype=torch.float64) - 0.5
    return -uniform.sign() * torch.log1p(-2 * uniform.abs()) / 2**0.5


def turned(g: torch.Generator, width: int) -> Tensor:
    return torch.linalg.qr(normal(g, width, width))[0]


def posteriors(factors: Tensor, mixing: Tensor, noise: float, g: torch.Generator) -> Table:
    """Posteriors under N(0, 1) of mixed factors, seen with noise that differs between particles."""
    z = factors @ mixing.T
    width = z.shape[-1]
    identity = torch.eye(width, dtype=z.dtype)
    precision = noise**-2 * torch.exp(0.7 * normal(g, *z.shape))
    frames = torch.linalg.qr(normal(g, *z.shape, width))[0]
    measured = frames @ torch.diag_embed(precision) @ frames.mT
    covariance = torch.linalg.inv(measured + identity)
    error = frames @ (precision.sqrt() * normal(g, *z.shape))[..., None]
    mean = covariance @ (measured @ z[..., None] + error)
    return Table(mean[..., 0], covariance, factors)


def pairs(
    seed: int, count: int, width: int = 2, noise: float = 0.3, steps: str = "laplace"
) -> Table:
    """Earlier and later frames, (2, N, Z)."""
    g = generator(seed)
    earlier = normal(g, count, width)
    move = laplace(g, count, width) if steps == "laplace" else normal(g, count, width)
    if steps == "round":
        move = move * torch.rand(count, 1, generator=g).double().log().neg().sqrt()
    return posteriors(torch.stack([earlier, earlier + move]), turned(g, width), noise, g)


def heated(
    seed: int, count: int, width: int = 2, noise: float = 0.3, harmonic: bool = False
) -> tuple[Table, Tensor]:
    """Conformations at 100, 200 and 300 K and their temperatures."""
    g = generator(seed)
    kelvin = 100.0 * (1 + torch.arange(count) % 3).double()
    growth = torch.ones(width) if harmonic else torch.linspace(2, 0, width)
    factors = normal(g, count, width) * (kelvin[:, None] / 300) ** growth
    return posteriors(factors / factors.std(0), turned(g, width), noise, g), kelvin
