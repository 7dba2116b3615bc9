"""Subspaces from elsewhere: maps of other programs and volumes of trained decoders."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import pair_nodes
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.protocols import VolumeDecoder
from cryo_disentangle.statistics.expectation import Expectation, expanded, expectation
from cryo_disentangle.statistics.grid import SliceGrid, shell_means
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.processes import process, sum_over_processes
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews, view_batches

__all__ = ["adopted", "principal_volumes"]

_PARTICLES, _STEPS = 4096, 8


@torch.no_grad()
def principal_volumes(decoder: VolumeDecoder, latents: Tensor, rank: int) -> Tensor:
    """Spans the volumes of a trained decoder: their mean and principal components.

    Args:
        decoder: Any that evaluates densities.
        latents: Conformations to take volumes at, shape (n, Z), n > rank.
        rank: Number K of components.

    Returns:
        V_0, V_1, ... in the decoder's units, scaled so that the volumes' coefficients have
        variance 1, shape (K + 1, D, D, D).

    Raises:
        ValueError: If there are not enough latents.
    """
    if not 1 <= rank < len(latents):
        raise ValueError(
            f"{len(latents)} volumes span at most {len(latents) - 1} components besides their "
            f"mean, rank {rank} was asked for: give more latents or a lower rank"
        )
    volumes = torch.stack([decoder.volume(latent) for latent in latents])
    mean = volumes.mean(0)
    _, values, axes = torch.linalg.svd((volumes - mean).flatten(1), full_matrices=False)
    scale = values[:rank] / (len(latents) - 1) ** 0.5
    others = (axes[:rank] * scale[:, None]).unflatten(1, mean.shape)
    return torch.cat([mean[None], others])


@torch.no_grad()
def adopted(images: ParticleDataset, subspace: Subspace, nuisance: Nuisance) -> Subspace:
    """Fits what a foreign subspace does not tell: its scale, its coefficients' spread, the noise.

    Args:
        images: The particles.
        subspace: Volumes up to an unknown factor, in arbitrary noise.
        nuisance: What is integrated out.

    Returns:
        A subspace with the same span, whose coefficients are standard normal.

    Raises:
        ValueError: If the mean does not look like the images at all.
    """
    grid, rows = subspace.grid, torch.arange(len(images))
    step = max(1, len(rows) // _PARTICLES)
    rank, count = process()
    batches = list(view_batches(images, grid.disc, rows[::step][rank::count]))
    views = [views for _, views in batches]
    noise = _power(views, grid)
    nodes = subspace.nodes * _scale(views, subspace.nodes, grid)
    for _ in range(_STEPS):
        found = Expectation.nothing(grid, subspace.rank)
        paired = pair_nodes(nodes)
        for some in views:
            white = some.whitened(noise[grid.shell])
            error = some.rotation.new_zeros(len(some.rotation), nuisance.count)
            found.add(expectation(grid, paired, white, nuisance, error)[0])
        sum_over_processes(found.sums())
        power = shell_means(found.power / 2, grid.shell, len(noise)) / found.count
        noise, nodes = noise * power, expanded(nodes, found.moments / found.count)
        noise[0] = noise[1]
    return Subspace(
        nodes,
        noise,
        subspace.box_size,
        subspace.pixel_size,
        subspace.radius,
        images.preprocessing.fitted_norm[1],
        subspace.invert,
    )


def _power(views: Iterable[ParticleViews], grid: SliceGrid) -> Tensor:
    """Mean square of images in each shell, shape (radius + 1,)."""
    total, count = torch.zeros_like(grid.points[:, 0]), torch.zeros(())
    for some in views:
        total += some.coefficients.square().mean(2).sum(0)
        count += len(some.rotation)
    sum_over_processes([total, count])
    power = shell_means(total / count, grid.shell, grid.radius + 1)
    power[0] = power[1]
    return power


def _scale(views: Iterable[ParticleViews], nodes: Tensor, grid: SliceGrid) -> Tensor:
    """The factor by which the mean's slices fit images best."""
    sums, mean = nodes.new_zeros(2), pair_nodes(nodes[:, :1])
    for some in views:
        seen = grid.read(grid.at(some.rotation, some.transfer), mean)[..., 0]
        sums += torch.stack([(seen * some.coefficients).sum(), seen.square().sum()])
    sum_over_processes([sums])
    if not sums[0] > 0:
        raise ValueError(
            "the mean volume does not look like the images (their correlation is "
            f"{float(sums[0]):.3g}): is it of these particles, with this handedness and sign? "
            "Dark particles are inverted (--invert)"
        )
    return sums[0] / sums[1]
