"""Expectation maximisation of a subspace, one step of each.

The model is probabilistic principal component analysis with a known linear map for each image.
Instead of solving normal equations of interpolated slices, which would blur, the maximisation takes
the exact gradient and divides it by what the equations weigh each frequency with, a majoriser: its
fixed point is the exact maximum, and no step goes down.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cryo_disentangle.decoders.spline import fold_nodes
from cryo_disentangle.statistics.grid import SliceGrid
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import (
    Coefficients,
    Likelihood,
    conditional_posterior,
    residuals,
)
from cryo_disentangle.statistics.views import ParticleViews

__all__ = ["Expectation", "expanded", "expectation", "maximized"]

_RIDGE = 1e-6


@dataclass
class Expectation:
    """Sums of the expectation step over particles.

    Attributes:
        added: Gradient of the expected log likelihood in the nodes, and beside it squared whitened
            CTFs on the grid, for `fold_nodes`, shape (G, 2 K + 4).
        moments: Σ E[(1, c) (1, c)ᵀ], shape (K + 1, K + 1).
        power: Expected squared whitened residuals, shape (P,).
        gain: Σ of gains in nats, a scalar.
        count: Number of particles, a scalar.
    """

    added: Tensor
    moments: Tensor
    power: Tensor
    gain: Tensor
    count: Tensor

    @classmethod
    def nothing(cls, grid: SliceGrid, rank: int) -> Expectation:
        """Makes sums over no particles.

        Args:
            grid: Where volumes lie.
            rank: Number K of volumes.

        Returns:
            Zeros.
        """
        nodes, points = grid.side**3, len(grid.points)
        sizes = ((nodes, 2 * rank + 4), (rank + 1, rank + 1), (points,), (), ())
        return cls(*(torch.zeros(size, device=grid.points.device) for size in sizes))

    def add(self, other: Expectation) -> None:
        """Adds other particles.

        Args:
            other: Sums over them.
        """
        for mine, theirs in zip(self.sums(), other.sums(), strict=True):
            mine += theirs

    def sums(self) -> tuple[Tensor, ...]:
        """Returns all sums."""
        return (self.added, self.moments, self.power, self.gain, self.count)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Returns the gradient, shape (G, K + 1), and the weights of nodes, shape (G, 1)."""
        gradient, weight = fold_nodes(self.added).split([len(self.moments), 1], dim=1)
        return gradient, weight


def expectation(
    grid: SliceGrid,
    paired: Tensor,
    views: ParticleViews,
    nuisance: Nuisance,
    error: Tensor,
    known: Coefficients | None = None,
) -> tuple[Expectation, Tensor]:
    """Takes the expectation step for a batch.

    Args:
        grid: Where volumes lie.
        paired: Mean and K volumes as `pair_nodes` has them, shape (G, 2 K + 2).
        views: Whitened views at the poses as corrected so far.
        nuisance: What is integrated out.
        error: Errors that poses were corrected by, in standard deviations, shape (B, Q): the prior
            is about the poses as given.
        known: The particles' coefficients where they are known from elsewhere; None is their
            posterior under a standard normal prior.

    Returns:
        Sums over the batch, and the expected errors of the poses as given, shape (B, Q).
    """
    seen, rank = residuals(grid, paired, views), paired.shape[1] // 2 - 1
    columns = nuisance.columns(grid, paired[:, :: rank + 1].contiguous(), views.rotation, seen)
    whole = seen.columns if columns is None else seen.beside(columns, error)
    residual, joint = whole[..., 0], whole[..., 1:]
    likelihood = Likelihood.of(whole)
    found = likelihood.posterior() if known is None else conditional_posterior(likelihood, known)
    mean, covariance, gain = found
    left = residual - (joint @ mean[..., None])[..., 0]
    spread = joint @ covariance
    moved = left[..., None] * mean[:, None, :rank] - spread[..., :rank]
    # Slices have the transfer in their weights, once when they are read and once when added to.
    weight = views.transfer[:, :, None].expand(-1, -1, 2).flatten(1)[..., None]
    cotangent = torch.cat([left[..., None], moved, weight], dim=2).unflatten(1, (-1, 2))
    coefficients = torch.cat([mean.new_ones(len(mean), 1), mean[:, :rank]], dim=1)
    moments = coefficients.T @ coefficients
    moments[1:, 1:] += covariance[:, :rank, :rank].sum(0)
    power = (left.square() + (spread * joint).sum(2)).sum(0).unflatten(0, (-1, 2)).sum(1)
    added = Expectation(
        grid.add(seen.at, cotangent),
        moments,
        power,
        gain.sum(),
        torch.tensor(float(len(mean))),
    )
    return added, mean[:, rank:]


def maximized(
    nodes: Tensor, found: Expectation, precision: Tensor, inside: Tensor, total: float
) -> Tensor:
    """Takes the maximisation step.

    Args:
        nodes: Mean and K volumes, shape (G, K + 1).
        found: Sums of the expectation step.
        precision: Inverse variances of the nodes' prior, shape (G, K + 1).
        inside: Nodes that slices read, shape (G,).
        total: Number of particles that ``found`` stands for, where it is of a share of them.

    Returns:
        Nodes for the coefficients as they are.
    """
    share = total / float(found.count)
    moments = found.moments / found.count
    gradient, weight = (part[inside] * share for part in found.folded())
    held = precision[inside]
    system = weight[:, :, None] * moments + torch.diag_embed(held + _RIDGE * weight.mean())
    change = torch.linalg.solve(system, gradient - held * nodes[inside])
    stepped = nodes.clone()
    stepped[inside] += change
    return stepped


def expanded(nodes: Tensor, moments: Tensor) -> Tensor:
    """Changes volumes so that coefficients with given moments become standard normal.

    Args:
        nodes: Mean and K volumes, shape (G, K + 1).
        moments: E[(1, c) (1, c)ᵀ], shape (K + 1, K + 1).

    Returns:
        Mean and volumes of the same model.

    References:
        Liu, Rubin and Wu 1998, Parameter expansion to accelerate EM.
    """
    if nodes.shape[1] == 1:
        return nodes
    centre = moments[1:, 0]
    covariance = moments[1:, 1:] - torch.outer(centre, centre)
    volumes = nodes[:, 1:]
    mean = nodes[:, :1] + (volumes @ centre)[:, None]
    return torch.cat([mean, volumes @ torch.linalg.cholesky(covariance)], dim=1)
