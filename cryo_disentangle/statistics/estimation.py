"""From images to two subspaces, one of each half set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.statistics.adoption import adopted
from cryo_disentangle.statistics.checks import (
    Calibration,
    HeldOutGains,
    calibration,
    held_out_gains,
)
from cryo_disentangle.statistics.fitting import HalfSetFit
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.mean import HalfMaps, back_project
from cryo_disentangle.statistics.posterior import Coefficients, Likelihood
from cryo_disentangle.statistics.processes import process, sum_over_processes
from cryo_disentangle.statistics.regression import LatentFit
from cryo_disentangle.statistics.settings import Progress, SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews, view_batches

__all__ = ["Estimate", "adopt", "estimate"]

_FIRST_RADIUS, _GROWTH = 8, 1.5
_MEAN_STEPS, _EARLY_STEPS, _FIRST_STEPS, _LATER_STEPS = 3, 12, 4, 4
# Early steps see a share of the particles, but not fewer than so many.
_EARLY_SHARE, _EARLY_PARTICLES = 0.2, 8000
# Marching ends where no volume of the halves correlates more than this at the edge.
_EDGE = 0.2
_CACHE_BYTES = 2**30
_CPU = torch.device("cpu")
_CHECKED = 10_000


class Estimate(NamedTuple):
    """Subspaces of two half sets in one basis, and what was found on the way.

    Attributes:
        halves: Of the first and of the second half set.
        merged: Their average.
        error: Expected errors of the poses in standard deviations of their priors, shape (N, Q).
        maps: Half maps of the mean.
        correlation: Fourier shell correlation of the halves' mean and volumes in shells
            0 .. radius + 1, shape (radius + 2, K + 1).
        gains: Held-out gain of each rank that was tried.
        checked: Calibration of the volumes that were kept.
    """

    halves: tuple[Subspace, Subspace]
    merged: Subspace
    error: Tensor
    maps: HalfMaps
    correlation: Tensor
    gains: HeldOutGains
    checked: Calibration


@torch.no_grad()
def estimate(
    images: ParticleDataset,
    half: Tensor,
    settings: SubspaceSettings,
    progress: Progress,
    device: torch.device = _CPU,
    known: Coefficients | None = None,
) -> Estimate:
    """Estimates the mean and K volumes.

    Args:
        images: The particles.
        half: Half set of each, shape (N,).
        settings: How.
        progress: Receives the progress.
        device: Where the work is done.
        known: Coefficients of latents from elsewhere that the volumes are fitted to, of all
            particles; None estimates coefficients as well.

    Returns:
        The subspaces, in the host's memory.

    Raises:
        ValueError: If the radius exceeds half the box, a half set is empty, or the data do not
            support the rank.
    """
    maps = _half_maps(images, half, settings, progress, device)
    reach = maps.signal_radius() if settings.radius is None else settings.radius
    fit, rows = _fit(images, half, reach, settings, progress, device, known)
    error = torch.zeros(len(half), settings.nuisance.count)
    error[rows] = fit.error.cpu()
    sum_over_processes([error])
    gathering = Gathering(_subspaces(images, fit), settings.nuisance)
    held_out, training = _likelihoods(gathering, fit)
    gains = held_out_gains(held_out)
    rank = _chosen(gains, settings.rank)
    checked = calibration(_first(held_out, rank), _first(training, rank))
    first, second = (subspace.truncated(rank).to(_CPU) for subspace in gathering.subspaces)
    merged = _subspace(images, fit, (first.nodes + second.nodes) / 2).to(_CPU)
    correlation = fit.correlation[:, : rank + 1].cpu()
    return Estimate((first, second), merged, error, maps, correlation, gains, checked)


@torch.no_grad()
def adopt(
    images: ParticleDataset,
    half: Tensor,
    volumes: Tensor,
    settings: SubspaceSettings,
    progress: Progress,
    device: torch.device = _CPU,
) -> Estimate:
    """Takes a mean and volumes from elsewhere in the place of estimating them.

    Nothing is held out: who made them saw all particles.

    Args:
        images: The particles.
        half: Half set of each, shape (N,).
        volumes: V_0, V_1, ..., up to a factor, shape (K + 1, D, D, D), axes z, y, x.
        settings: How; rank, mask and seed do not matter.
        progress: Receives the progress.
        device: Where the work is done.

    Returns:
        The same subspace for both halves.

    Raises:
        ValueError: If the radius exceeds half the box, a half set is empty, or the mean does not
            look like the images.
    """
    maps = _half_maps(images, half, settings, progress, device)
    reach = maps.signal_radius() if settings.radius is None else settings.radius
    stack, preprocessing = images.stack, images.preprocessing
    given = Subspace.of_volumes(
        volumes,
        stack.pixel_size,
        reach,
        preprocessing.fitted_norm[1],
        invert=getattr(preprocessing, "invert", True),
    )
    subspace = adopted(images, given.to(device), settings.nuisance)
    step = max(1, len(half) // _CHECKED)
    rows, count = _share(torch.arange(len(half))[::step]), settings.nuisance.count
    gathering = Gathering((subspace, subspace), settings.nuisance)
    parts = [
        gathering.gather(0, views, subspace.nodes.new_zeros(len(some), count)).likelihood
        for some, views in view_batches(images, subspace.grid.disc, rows)
    ]
    likelihood = Likelihood(*(torch.cat(part) for part in zip(*parts, strict=True)))
    subspace = subspace.to(_CPU)
    return Estimate(
        (subspace, subspace),
        subspace,
        torch.zeros(len(half), settings.nuisance.count),
        maps,
        maps.correlation[:, None],
        held_out_gains(likelihood),
        calibration(likelihood, likelihood),
    )


def _half_maps(
    images: ParticleDataset,
    half: Tensor,
    settings: SubspaceSettings,
    progress: Progress,
    device: torch.device,
) -> HalfMaps:
    """The mean's half maps, up to the highest frequency that may be asked for."""
    side = images.stack.box_size
    if settings.radius is not None and settings.radius > side // 2:
        raise ValueError(
            f"radius {settings.radius} exceeds half the box of {side} pixels; give at most "
            f"{side // 2}, or leave it out"
        )
    grid = SliceGrid(side, side // 2).to(device)
    mine = _share(torch.arange(len(half)))
    progress.start("mean", len(mine))
    found = back_project(_watched(images, grid, mine, progress), half, grid)
    first, second = (nodes.cpu() for nodes in found.nodes)
    return HalfMaps((first, second), found.correlation.cpu())


def _watched(
    images: ParticleDataset, grid: SliceGrid, rows: Tensor, progress: Progress
) -> Iterator[tuple[Tensor, ParticleViews]]:
    """Views, read with a progress display."""
    for some, views in view_batches(images, grid.disc, rows):
        progress.advance(len(some))
        yield some, views


def _fit(
    images: ParticleDataset,
    half: Tensor,
    reach: int,
    settings: SubspaceSettings,
    progress: Progress,
    device: torch.device,
    known: Coefficients | None,
) -> tuple[HalfSetFit, Tensor]:
    """Marches from low to high frequencies; the rows of this process's particles."""
    grid = SliceGrid(images.stack.box_size, reach).to(device)
    rows = _remembered(half, grid, settings.seed)
    progress.start("reading", len(rows))
    parts = [views for _, views in _watched(images, grid, rows, progress)]
    views = ParticleViews(*(torch.cat(part) for part in zip(*parts, strict=True)))
    seen = (views, half[rows], images.stack.box_size, reach)
    held = (settings.nuisance, settings.mask_radius)
    if known is None:
        fit = HalfSetFit(*seen, settings.rank or settings.largest_rank, *held)
    else:
        fit = LatentFit(known.take(rows).to(device), *seen, *held)
    _march(fit, reach, settings, progress)
    return fit, rows


def _march(fit: HalfSetFit, reach: int, settings: SubspaceSettings, progress: Progress) -> None:
    """Takes all steps, radius by radius."""
    radius, refine = min(_FIRST_RADIUS, reach), settings.refine_poses

    def told() -> None:
        progress.advance(1)

    fit.resize(radius)
    share = min(1.0, max(_EARLY_SHARE, _EARLY_PARTICLES / len(fit.half)))
    progress.start("subspace", _MEAN_STEPS + _EARLY_STEPS + _FIRST_STEPS)
    fit.steps(_MEAN_STEPS, told=told)
    fit.start_volumes(torch.Generator().manual_seed(settings.seed))
    fit.steps(_EARLY_STEPS, share, told=told)
    fit.find_molecule()
    fit.steps(_FIRST_STEPS, refine=refine, told=told)
    # Poses are refined by the mean, which carries signal further up than what varies.
    while radius < reach and (refine or float(fit.correlation[radius, 1:].max()) > _EDGE):
        radius = min(reach, round(radius * _GROWTH))
        fit.resize(radius)
        fit.find_molecule()
        progress.start(f"subspace to radius {radius}", _LATER_STEPS)
        fit.steps(_LATER_STEPS, refine=refine, told=told)


def _remembered(half: Tensor, grid: SliceGrid, seed: int) -> Tensor:
    """Rows of this process's particles whose views are kept in memory, drawn where they are many.

    Halves are drawn alike, in ascending order.
    """
    most = _CACHE_BYTES // (12 * len(grid.points))
    mine = _share(torch.arange(len(half)))
    if len(mine) <= most:
        return mine
    order = torch.randperm(len(mine), generator=torch.Generator().manual_seed(seed))
    return mine[order[:most].sort().values]


def _share(rows: Tensor) -> Tensor:
    """Rows of this process."""
    rank, count = process()
    return rows[rank::count]


def _subspaces(images: ParticleDataset, fit: HalfSetFit) -> tuple[Subspace, Subspace]:
    """The subspace of each half."""
    first, second = (_subspace(images, fit, nodes) for nodes in fit.nodes)
    return first, second


def _subspace(images: ParticleDataset, fit: HalfSetFit, nodes: Tensor) -> Subspace:
    """Nodes of a fit, with all that they are in units of."""
    preprocessing = images.preprocessing
    return Subspace(
        nodes.contiguous(),
        fit.noise,
        images.stack.box_size,
        images.stack.pixel_size,
        fit.grid.radius,
        preprocessing.fitted_norm[1],
        getattr(preprocessing, "invert", True),
    )


def _likelihoods(gathering: Gathering, fit: HalfSetFit) -> tuple[Likelihood, Likelihood]:
    """Of some particles, from the volumes of the other half and from those of their own."""
    swapped = Gathering(gathering.subspaces[::-1], gathering.nuisance)
    grid = SliceGrid(fit.box_size, fit.radius).to(fit.noise.device)
    within = grid.points_within(fit.grid.radius)
    found: tuple[list[Likelihood], list[Likelihood]] = ([], [])
    for number in (0, 1):
        rows = torch.nonzero(fit.half == number)[:, 0]
        step = max(1, 2 * len(rows) // _CHECKED)
        for some in rows[::step].split(256):
            views = fit.views.take(some).within(within)
            for way, kept in zip((gathering, swapped), found, strict=True):
                kept.append(way.gather(number, views, fit.pose_error(some)).likelihood)
    held_out, training = (
        Likelihood(*(torch.cat(part) for part in zip(*kept, strict=True))) for kept in found
    )
    return held_out, training


def _first(likelihood: Likelihood, rank: int) -> Likelihood:
    """The statistics of the first volumes."""
    return Likelihood(
        likelihood.precision[:, :rank, :rank], likelihood.information[:, :rank], likelihood.offset
    )


def _chosen(gains: HeldOutGains, rank: int | None) -> int:
    """The rank asked for, if the data support it, or the one that they support."""
    supported = gains.supported()
    if rank is None:
        if not supported:
            raise ValueError(
                "no volume besides the mean raises the likelihood of held-out particles: the "
                "images show no heterogeneity at this noise, so there is nothing to learn from them"
            )
        return gains.worthwhile()
    if rank > supported:
        raise ValueError(
            f"rank {rank} is more than the data support: the likelihood of held-out particles "
            f"grows up to {supported} volumes; give a rank of at most {supported}, or leave it out"
        )
    return rank
