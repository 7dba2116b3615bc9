"""Prior of conformations that have ends: the generalised normal distribution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.priors._quantiles import interpolated_quantiles
from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["GeneralizedNormal"]

_LARGEST_EXPONENT = 16
_QUANTILE_POINTS = 4097


class GeneralizedNormal(nn.Module, ConformationPrior):
    """Independent coordinates with p(z_j) ∝ exp(-|z_j / α|^β), of variance 1.

    The exponent β = 2 is the standard normal. With β = 8 the density is nearly flat between ±1.7
    and falls off steeply beyond, as that of a motion between two stops, such as a hinge's. It
    changes under a rotation of z, so the likelihood prefers axes along which motions are
    independent, without labels of time or temperature. This identifies linear mixtures of
    independent factors (Comon 1994); nonlinear mixtures stay unidentified.

    For even β, E|z|^β under a normal posterior is a polynomial in its mean and variance, so the
    divergence is exact.

    Args:
        exponent: β, an even number from 2 to 16.

    Raises:
        ValueError: If the exponent is another number.

    References:
        Subbotin 1923, On the law of frequency of error; Comon 1994, Independent component analysis,
        a new concept?; Stühmer, Turner and Nowozin 2020, Independent subspace analysis for
        unsupervised learning of disentangled representations.
    """

    def __init__(self, exponent: int = 8) -> None:
        super().__init__()
        if exponent not in range(2, _LARGEST_EXPONENT + 1, 2):
            raise ValueError(
                f"exponent must be an even number from 2 to {_LARGEST_EXPONENT}, found {exponent}"
            )
        self.exponent = exponent
        self.scale = math.exp(0.5 * (math.lgamma(1 / exponent) - math.lgamma(3 / exponent)))
        self._log_partition = math.log(2 * self.scale) + math.lgamma(1 + 1 / exponent)

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Divergence of each posterior from the prior.

        Args:
            inference: Posteriors of B particles.
            batch: Not read.

        Returns:
            KL in nats, shape (B,).
        """
        mean = inference.mean / self.scale
        variance = inference.log_variance.exp() / self.scale**2
        energy = torch.zeros_like(mean)
        moment = 1  # (k - 1)!!, the k-th moment of the standard normal
        for k in range(0, self.exponent + 1, 2):
            moment *= max(k - 1, 1)
            factor = math.comb(self.exponent, k) * moment
            energy = energy + factor * mean ** (self.exponent - k) * variance ** (k // 2)
        entropy = 0.5 * (1 + math.log(2 * math.pi) + inference.log_variance)
        marginal = (energy + self._log_partition - entropy).sum(-1)
        return marginal + inference.total_correlation

    def log_prob(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Log-density of conformations.

        Args:
            conformation: Shape (B, Z), or (B, 2, Z) for pairs.
            batch: Not read.

        Returns:
            Log-density in nats, shape (B,) or (B, 2).
        """
        return -((conformation / self.scale) ** self.exponent + self._log_partition).sum(-1)

    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws a conformation for each particle.

        |z / α|^β has a gamma distribution of shape 1 / β; its quantiles are tabulated, straight
        between the points.

        Args:
            batch: Gives the number of particles and the device.
            conformation_dim: Number Z of coordinates.
            generator: Source of randomness on the batch's device.

        Returns:
            Shape (B, Z), or (B, 2, Z) for pairs.
        """
        index = batch["index"]
        shape = (*index.shape, conformation_dim)
        uniform = torch.rand(shape, device=index.device, generator=generator)
        # Beyond this there is less than 1e-9 of the distribution.
        end = 20 ** (1 / self.exponent)
        points = torch.linspace(-end, end, _QUANTILE_POINTS, device=index.device)
        shape_parameter = torch.full_like(points, 1 / self.exponent)
        inside = torch.special.gammainc(shape_parameter, points.abs() ** self.exponent)
        below = 0.5 + 0.5 * inside.copysign(points)
        found = interpolated_quantiles(points, below[None], uniform.reshape(1, -1))
        return self.scale * found.reshape(shape)
