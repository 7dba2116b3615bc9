"""A prior of factors that have ends, such as the angle of a hinge between two stops."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

# Moments of the normal in powers of its standard deviation: E ε⁰, E ε², ..., E ε⁸.
_MOMENTS = (1, 1, 3, 15, 105)
_EXPONENT = 8
# The scale that makes the variance 1.
_SCALE = math.exp(0.5 * (math.lgamma(1 / _EXPONENT) - math.lgamma(3 / _EXPONENT)))
_LOG_PARTITION = math.log(2 * _SCALE) + math.lgamma(1 + 1 / _EXPONENT)


class Bounded(nn.Module, ConformationPrior):
    """Generalised normal of exponent 8 and variance 1, p(z) ∝ exp(-Σ_j (z_j / a)⁸).

    Nearly uniform, and smooth. E z⁸ under a normal posterior is a polynomial in its mean and
    variance, so the divergence is exact.
    """

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Divergence of each posterior in nats, shape (B,)."""
        mean = inference.mean / _SCALE
        variance = inference.log_variance.exp() / _SCALE**2
        energy = sum(
            math.comb(_EXPONENT, 2 * power)
            * moment
            * mean ** (_EXPONENT - 2 * power)
            * variance**power
            for power, moment in enumerate(_MOMENTS)
        )
        entropy = 0.5 * (1 + math.log(2 * math.pi) + inference.log_variance)
        return (energy + _LOG_PARTITION - entropy).sum(-1) + inference.total_correlation

    def log_prob(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Log-density in nats of conformations (..., Z), shape (...,)."""
        return -((conformation / _SCALE) ** _EXPONENT + _LOG_PARTITION).sum(-1)

    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws a conformation for each particle, by inversion on a grid."""
        grid = torch.linspace(-1.5 * _SCALE, 1.5 * _SCALE, 4097)
        mass = self.log_prob(grid[:, None], batch).exp()
        shape = (*batch["index"].shape, conformation_dim)
        drawn = torch.multinomial(mass, math.prod(shape), replacement=True, generator=generator)
        return grid[drawn].reshape(shape)
