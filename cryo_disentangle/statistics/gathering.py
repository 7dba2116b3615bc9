"""One pass over the images that makes every particle's statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.poses import PoseErrors
from cryo_disentangle.statistics.posterior import Likelihood, marginal_likelihood, residuals
from cryo_disentangle.statistics.processes import process, wait_for_all
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import ParticleViews, view_batches
from cryo_disentangle.statistics.writing import StatisticsWriter

__all__ = ["Gathered", "Gathering"]


class Gathered(NamedTuple):
    """Statistics of a batch, and what its nuisances probably are.

    Attributes:
        likelihood: Of the coefficients, nuisances integrated out.
        error: Expected nuisances, poses as given, in standard deviations, shape (B, Q).
        deviation: Their posterior standard deviations in the same units, shape (B, Q).
    """

    likelihood: Likelihood
    error: Tensor
    deviation: Tensor


@dataclass(frozen=True)
class Gathering:
    """Computes statistics of particles: each half set from the other half's subspace.

    So no particle meets volumes that saw its noise.

    Args:
        subspaces: Of the first and of the second half set; work is done where they lie.
        nuisance: What is integrated out.
    """

    subspaces: tuple[Subspace, Subspace]
    nuisance: Nuisance

    def gather(self, half: int, views: ParticleViews, error: Tensor) -> Gathered:
        """Makes the statistics of particles of one half set.

        Args:
            half: Their half set; the other one's subspace is read.
            views: Views at the poses given, unwhitened.
            error: Errors that poses are corrected by, in standard deviations, shape (B, Q).

        Returns:
            Their statistics.
        """
        subspace = self.subspaces[1 - half]
        grid, rank = subspace.grid, subspace.rank
        views = self.nuisance.corrected(views.whitened(subspace.point_noise), error, grid)
        seen = residuals(grid, subspace.paired, views)
        mean = subspace.paired[:, :: rank + 1].contiguous()
        columns = self.nuisance.columns(grid, mean, views.rotation, seen)
        if columns is None:
            return Gathered(Likelihood.of(seen.columns), error, error)
        joint = Likelihood.of(seen.beside(columns, error))
        found = joint.posterior()
        deviation = found.covariance.diagonal(dim1=1, dim2=2)[:, rank:].sqrt()
        return Gathered(marginal_likelihood(joint, rank), found.mean[:, rank:], deviation)

    @torch.no_grad()
    def run(
        self,
        images: ParticleDataset,
        half: Tensor,
        error: Tensor,
        writer: StatisticsWriter,
        poses: PoseErrors | None = None,
        told: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Makes the statistics that a writer still misses, this process's share of them.

        Args:
            images: The particles.
            half: Half set of each, shape (N,).
            error: Errors that poses are corrected by, shape (N, Q).
            writer: Of these particles.
            poses: Where the errors that the posterior expects are written, if anywhere.
            told: Called with the number of particles of each batch.
        """
        rank, count = process()
        # Neighbours in the file stay together, since they are read at once.
        missing = torch.from_numpy(writer.missing).tensor_split(count)[rank]
        # What one process writes is no longer missing to another: all divide before any writes.
        wait_for_all()
        disc = self.subspaces[0].grid.disc
        device = disc.frequencies.device
        for rows, views in view_batches(images, disc, missing):
            for number in (0, 1):
                mine = torch.nonzero(half[rows] == number)[:, 0]
                if not len(mine):
                    continue
                some = rows[mine]
                found = self.gather(number, views.take(mine), error[some].to(device))
                if poses is not None:
                    poses.write(some, found.error, found.deviation)
                writer.write(some, *found.likelihood)
            told(len(rows))
