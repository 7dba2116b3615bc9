"""How far what was re-encoded is from what was decoded.

A model that maps every image to one conformation satisfies `SquaredDistance` and
`RelativeDistance`. `ContrastiveDistance`, `NormalizedDistance`, `PosteriorDistance` and
`WithVarianceFloor` can't be satisfied so.

Classes name their protocol as a base so that configuration files find them by short names.
"""

from __future__ import annotations

import math
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from cryo_disentangle.geometry.rotations import geodesic_distance
from cryo_disentangle.options.parts import part
from cryo_disentangle.types import Inference

__all__ = [
    "ChordalDistance",
    "ConformationDistance",
    "ContrastiveDistance",
    "GeodesicDistance",
    "NormalizedDistance",
    "PoseDistance",
    "PosteriorDistance",
    "RelativeDistance",
    "SquaredDistance",
    "WithVarianceFloor",
    "relative_invariance",
]

# Keeps quotients finite where nothing varies.
_TINY = 1e-6
# Beyond, one sure particle would outweigh all others of a batch.
_LOG_VARIANCES = (-8.0, 8.0)


@part
class ConformationDistance(Protocol):
    """Distance of the conformations of a batch."""

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Compares posteriors.

        Args:
            inferred: Posterior that is to be moved, (B, Z).
            target: Posterior that it is to be near, (B, Z), without gradient.

        Returns:
            Distance, a scalar.
        """
        ...


@part
class PoseDistance(Protocol):
    """Distance of the rotations of a batch."""

    def forward(self, inferred: Tensor, imposed: Tensor) -> Tensor:
        """Compares rotations.

        Args:
            inferred: Rotations that are to be moved, shape (B, 3, 3).
            imposed: Rotations that were rendered, shape (B, 3, 3), without gradient.

        Returns:
            Distance, a scalar.
        """
        ...


def _total_variance(conformation: Tensor) -> Tensor:
    """Trace of the covariance over the batch, with the number of particles in the denominator."""
    return conformation.var(0, correction=0).sum()


def _need_two(inferred: Inference, name: str) -> None:
    if len(inferred.mean) < 2:
        raise ValueError(
            f"{name} compares the particles of a batch and needs at least 2, found "
            f"{len(inferred.mean)}"
        )


def relative_invariance(inferred: Tensor, target: Tensor) -> Tensor:
    """Squared distance of conformations over that to a random other particle.

    E|ẑ - z|² / (tr Cov ẑ + tr Cov z): 0 where every particle comes back as itself, 1 where it comes
    back as anybody. Both traces are over the batch, so shrinking z changes nothing; where z and ẑ
    are constant it is 1.

    Args:
        inferred: ẑ, shape (B, Z).
        target: z, shape (B, Z).

    Returns:
        A scalar.
    """
    distance = (inferred - target).square().sum(-1).mean()
    spread = _total_variance(inferred) + _total_variance(target)
    return (distance + _TINY) / (spread + _TINY)


class SquaredDistance(nn.Module, ConformationDistance):
    """E|ẑ - z|², summed over coordinates: Eq. 2 of Klindt et al. 2024."""

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means were decoded, (B, Z).

        Returns:
            A scalar.
        """
        return (inferred.mean - target.mean).square().sum(-1).mean()


class RelativeDistance(nn.Module, ConformationDistance):
    """E Σ_k (ẑ_k - z_k)² / σ_k², in units of the first encoding's posterior spread σ.

    The more certain a coordinate is, the more closely it must be found again.
    """

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means were decoded, (B, Z).

        Returns:
            A scalar.
        """
        squared = (inferred.mean - target.mean).square()
        return (squared * torch.exp(-target.log_variance)).sum(-1).mean()


class NormalizedDistance(nn.Module, ConformationDistance):
    """`relative_invariance`, with gradient through the spread of ẑ.

    It does not depend on the scale of z, and a constant ẑ costs as much as a random one.
    """

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means were decoded, (B, Z).

        Returns:
            A scalar, 0 at best and 1 for a random other particle.

        Raises:
            ValueError: If the batch is of one particle.
        """
        _need_two(inferred, "NormalizedDistance")
        return relative_invariance(inferred.mean, target.mean)


class ContrastiveDistance(nn.Module, ConformationDistance):
    """ẑ_i must be nearer to z_i than to the other conformations of the batch (InfoNCE).

    Cross-entropy of finding i among j by p(j|i) ∝ exp(-|ẑ_i - z_j|² / (temperature · tr Cov z)).
    With shuffled poses the particle that gave its pose is among the others, so a z that follows the
    pose is distinguished from the right one. A constant ẑ costs at least log B, since then one
    distribution over j serves all i; a perfect one costs less the farther particles lie apart. Only
    particles of one process are compared.

    Args:
        temperature: Squared distance, in units of the variance of z, at which two conformations
            begin to count as different.

    Raises:
        ValueError: If the temperature is not positive.

    References:
        van den Oord et al. 2018, Contrastive predictive coding, Eq. 4.
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"a contrastive temperature must be positive, found {temperature}")
        self.temperature = temperature

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means were decoded, (B, Z).

        Returns:
            Cross-entropy in nats, a scalar.

        Raises:
            ValueError: If the batch is of one particle.
        """
        _need_two(inferred, "ContrastiveDistance")
        squared = (inferred.mean[:, None] - target.mean[None]).square().sum(-1)
        scale = self.temperature * _total_variance(target.mean).clamp_min(_TINY)
        own = torch.arange(len(squared), device=squared.device)
        return nn.functional.cross_entropy(-squared / scale, own)


class PosteriorDistance(nn.Module, ConformationDistance):
    """-log q(z | rendered image): judges the posterior after re-encoding, not only its mean.

    Where an image does not determine z, a wide posterior is best; a constant ẑ has to be as wide as
    the distribution of z. With conformations drawn from posteriors (``sampled_conformations``) and
    noise as in the data, this is the step in which an encoder learns from images that its decoder
    generates.

    References:
        Hinton et al. 1995, the wake-sleep algorithm; Bornschein and Bengio 2015, Eq. 12.
    """

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means, or draws in their place, were decoded, (B, Z).

        Returns:
            Nats up to a constant, summed over coordinates, a scalar.
        """
        if inferred.scale_tril is not None:
            return _negative_log_density(inferred, target.mean).mean()
        log_variance = inferred.log_variance.clamp(*_LOG_VARIANCES)
        miss = (inferred.mean - target.mean).square() * torch.exp(-log_variance)
        return 0.5 * (miss + log_variance).sum(-1).mean()


def _negative_log_density(inferred: Inference, conformation: Tensor) -> Tensor:
    """-log N(z | μ, L Lᵀ) up to a constant, (B,); L's diagonal within bounds as variances are."""
    scale = cast(Tensor, inferred.scale_tril)
    diagonal = scale.diagonal(dim1=-2, dim2=-1)
    low, high = (math.exp(0.5 * bound) for bound in _LOG_VARIANCES)
    bounded = diagonal.clamp(low, high)
    scale = scale.tril(-1) + torch.diag_embed(bounded)
    miss = (conformation - inferred.mean)[..., None]
    reduced = torch.linalg.solve_triangular(scale, miss, upper=False)[..., 0]
    return 0.5 * reduced.square().sum(-1) + bounded.log().sum(-1)


class WithVarianceFloor(nn.Module, ConformationDistance):
    """A distance, with a cost if a coordinate of ẑ varies too little over the batch.

    distance + floor_weight · mean_k max(0, floor - std ẑ_k): each constant coordinate costs.
    Only particles of one process are compared.

    Args:
        distance: The distance; null is `SquaredDistance`.
        floor: Standard deviation of a coordinate from which on it costs nothing.
        floor_weight: Weight of the cost.

    Raises:
        ValueError: If the floor is not positive or its weight negative.

    References:
        Bardes et al. 2022, VICReg, Eqs. 1 and 2.
    """

    def __init__(
        self,
        distance: ConformationDistance | None = None,
        floor: float = 0.5,
        floor_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if not floor > 0 or not floor_weight >= 0:
            raise ValueError(
                "a variance floor needs floor > 0 and floor_weight >= 0, found "
                f"floor={floor} and floor_weight={floor_weight}"
            )
        self.distance: ConformationDistance = SquaredDistance() if distance is None else distance
        self.floor = floor
        self.floor_weight = floor_weight

    def forward(self, inferred: Inference, target: Inference) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Posterior of what was re-encoded, (B, Z).
            target: Posterior whose means were decoded, (B, Z).

        Returns:
            A scalar.

        Raises:
            ValueError: If the batch is of one particle.
        """
        _need_two(inferred, "WithVarianceFloor")
        # The square root's slope is infinite at a constant.
        spread = (inferred.mean.var(0) + _TINY).sqrt()
        cost = (self.floor - spread).relu().mean()
        return self.distance.forward(inferred, target) + self.floor_weight * cost


class ChordalDistance(nn.Module, PoseDistance):
    """E(1 - cos θ) = E‖R̂ - R‖_F² / 4, θ the angle between two rotations; on SO(2) and SO(3).

    2 at most and smooth everywhere; 1 on average between uniform rotations of SO(2), 1.5 of SO(3).
    """

    def forward(self, inferred: Tensor, imposed: Tensor) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Rotations that were re-encoded, (B, 3, 3).
            imposed: Rotations that were decoded, (B, 3, 3).

        Returns:
            A scalar.
        """
        return (inferred - imposed).square().sum((-2, -1)).mean() / 4


class GeodesicDistance(nn.Module, PoseDistance):
    """E θ² in rad², θ the geodesic distance on SO(3); for in-plane rotations that on the circle.

    Its gradient does not vanish at opposite rotations as that of `ChordalDistance` does, but is
    discontinuous there.
    """

    def forward(self, inferred: Tensor, imposed: Tensor) -> Tensor:
        """Evaluates the distance.

        Args:
            inferred: Rotations that were re-encoded, (B, 3, 3).
            imposed: Rotations that were decoded, (B, 3, 3).

        Returns:
            A scalar.
        """
        # Matrix products under autocast would round rotations to three digits.
        with torch.autocast(inferred.device.type, enabled=False):
            return geodesic_distance(inferred, imposed).square().mean()
