"""Coefficients that a subspace's volumes are fitted to: polynomials of any run's latents."""

from __future__ import annotations

from math import comb
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.evaluation.own_latents import open_latents
from cryo_disentangle.maps.particles import embedded_rows
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.posterior import Coefficients
from cryo_disentangle.statistics.regression import polynomial_coefficients

__all__ = ["coefficients_of_latents"]

_HIGHEST, _MOST = 4, 20
# Draws from a posterior come in pairs about its mean.
_PAIRS, _BATCH = 32, 4096


def coefficients_of_latents(
    run: Path,
    rows: ParticleRows,
    particles: Path,
    *,
    key: str | None = None,
    degree: int | None = None,
    datadir: Path | None = None,
) -> Coefficients:
    """Takes polynomials of a run's latents as coefficients of volumes.

    Args:
        run: Finished run of any program, or a file of latents; `open_latents`.
        rows: The particles.
        particles: Their file.
        key: Which of several latents.
        degree: Highest degree of the polynomials; None is the highest up to 4 of which there are
            at most 20.
        datadir: Folder of the stacks, or None.

    Returns:
        The coefficients of the particles, with the covariance that the latents' own makes.

    Raises:
        OSError: If a file is missing.
        ValueError: If particles have no latents, or polynomials are too many.
    """
    embedding, _ = open_latents(run, key)
    position = np.full(max(rows.total, int(rows.index.max()) + 1), -1)
    position[embedded_rows(embedding, particles, datadir)] = np.arange(len(embedding))
    order = position[rows.index]
    without = np.flatnonzero(order < 0)
    if without.size:
        raise ValueError(
            f"{embedding.source}: {without.size} of {len(order)} particles have no latents, the "
            f"first is row {rows.index[without[0]] + 1} of {particles}; give those that have by "
            "--indices"
        )
    mean, factor = _standardised(embedding, order)
    width = mean.shape[1]
    degree = _degree(width, degree, embedding.source)
    noise = torch.randn(_PAIRS, width, generator=torch.Generator().manual_seed(0))
    noise = torch.cat([noise, -noise]) if factor is not None else noise.new_zeros(1, width)
    weight = torch.full((_BATCH, len(noise)), 1 / len(noise))
    parts = []
    for some in torch.arange(len(mean)).split(_BATCH):
        away = noise if factor is None else noise @ factor[some].mT
        samples = mean[some, None] + away
        parts.append(polynomial_coefficients(samples, weight[: len(some)], degree))
    return Coefficients(*(torch.cat(part) for part in zip(*parts, strict=True)))


def _standardised(
    embedding: Embedding, order: np.ndarray[tuple[int], np.dtype[np.int64]]
) -> tuple[Tensor, Tensor | None]:
    """Latents of zero mean and unit covariance, and factors of their own covariances."""
    mean = torch.from_numpy(np.asarray(embedding.latents[order], np.float64))
    total = torch.cov(mean.T).reshape(mean.shape[1], -1)
    covariance = None
    if embedding.covariance is not None:
        covariance = torch.from_numpy(np.asarray(embedding.covariance[order], np.float64))
        total = total + covariance.mean(0)
    values, axes = torch.linalg.eigh(total)
    if not bool(values[0] > 1e-9 * values[-1]):
        raise ValueError(
            f"{embedding.source}: a combination of the coordinates of z is the same for all "
            "particles; leave a coordinate out"
        )
    white = axes / values.sqrt()
    mean = ((mean - mean.mean(0)) @ white).float()
    if covariance is None:
        return mean, None
    moved = white.T @ covariance @ white
    lift = 1e-9 * torch.eye(len(white), dtype=moved.dtype)
    return mean, torch.linalg.cholesky(moved + lift).float()


def _degree(width: int, degree: int | None, source: Path) -> int:
    """The degree asked for, or the highest of which there are not too many polynomials."""
    if degree is None:
        fitting = [d for d in range(1, _HIGHEST + 1) if comb(width + d, d) - 1 <= _MOST]
        return max(fitting, default=1)
    if degree < 1 or comb(width + degree, degree) - 1 > _MOST:
        count = comb(width + max(degree, 0), max(degree, 0)) - 1
        raise ValueError(
            f"{source}: polynomials of degree {degree} in {width} coordinates are {count}; "
            f"expected 1 to {_MOST} of them: give another --degree"
        )
    return degree
