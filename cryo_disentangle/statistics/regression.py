"""Volumes of coefficients that are known from elsewhere: a regression of images on latents."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from cryo_disentangle.statistics.expectation import Expectation, expectation
from cryo_disentangle.statistics.fitting import HalfSetFit
from cryo_disentangle.statistics.half_sets import shared_axes
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.posterior import Coefficients
from cryo_disentangle.statistics.views import ParticleViews

__all__ = ["LatentFit", "polynomial_coefficients"]


class LatentFit(HalfSetFit):
    """Fits the volumes of known coefficients, in two half sets.

    Expectation maximisation has to find coefficients and volumes together, under a normal prior
    that treats every coefficient as a motion of its own. Where two latents say that a third and a
    fourth volume are there to bend a motion, nothing but the volumes is left to be found: a linear
    regression, whose coefficients' covariance counts as in the expectation step.

    Args:
        known: The particles' coefficients, shapes (N, K) and (N, K, K).
        views: As for `HalfSetFit`, and so on.
        half: Half set of each, shape (N,).
        box_size: Image side D in pixels.
        radius: Radius in Fourier pixels of the views.
        nuisance: What is integrated out.
        mask_radius: Radius of the sphere that volumes are held in, as a fraction of half the box.
    """

    def __init__(
        self,
        known: Coefficients,
        views: ParticleViews,
        half: Tensor,
        box_size: int,
        radius: int,
        nuisance: Nuisance,
        mask_radius: float,
    ) -> None:
        self._known = known.standardised()
        rank = known.mean.shape[1]
        super().__init__(views, half, box_size, radius, rank, nuisance, mask_radius)

    def start_volumes(self, generator: torch.Generator) -> None:
        """Adds volumes that are zero.

        Args:
            generator: Nothing is drawn.
        """
        del generator
        empty = self.nodes[0].new_zeros(len(self.nodes[0]), self.rank)
        self.nodes = [torch.cat([mean, empty], 1) for mean in self.nodes]
        self._precision = torch.cat([self._precision, empty], 1)

    def _seen(
        self, rows: Tensor, paired: Tensor, views: ParticleViews, error: Tensor
    ) -> tuple[Expectation, Tensor]:
        rank = paired.shape[1] // 2 - 1
        known = self._known.take(rows)
        known = Coefficients(known.mean[:, :rank], known.covariance[:, :rank, :rank])
        return expectation(self.grid, paired, views, self.nuisance, error, known)

    def _scaled(self, nodes: Tensor, found: Expectation) -> Tensor:
        """The coefficients are given."""
        del found
        return nodes

    def _align(self) -> None:
        """Takes the axes that the halves share, the strongest first, in the coefficients too."""
        first, second = self.nodes
        axes = shared_axes(first[:, 1:], second[:, 1:])
        self._known = self._known.turned(axes)
        self.nodes = [torch.cat([part[:, :1], part[:, 1:] @ axes], 1) for part in self.nodes]


def polynomial_coefficients(samples: Tensor, weight: Tensor, degree: int) -> Coefficients:
    """Expected polynomials of latents, with their covariance.

    Args:
        samples: Draws from each particle's posterior, shape (B, S, Z).
        weight: Of each draw, positive with sum 1, shape (B, S).
        degree: Highest degree d of the products of powers.

    Returns:
        Of the (Z + d)! / (Z! d!) - 1 products of Hermite polynomials up to that degree.
    """
    powers = [torch.ones_like(samples), samples]
    for order in range(2, degree + 1):
        # Orthonormal under a standard normal prior.
        last, before = powers[-1], powers[-2]
        powers.append((samples * last - (order - 1) ** 0.5 * before) / order**0.5)
    every = product(range(degree + 1), repeat=samples.shape[2])
    chosen = [orders for orders in every if 0 < sum(orders) <= degree]
    values = torch.stack(
        [
            torch.stack([powers[order][..., axis] for axis, order in enumerate(orders)]).prod(0)
            for orders in chosen
        ],
        dim=2,
    )
    mean = (weight[..., None] * values).sum(1)
    away = values - mean[:, None]
    return Coefficients(mean, away.mT @ (weight[..., None] * away))
