"""Standard normal prior of the variational autoencoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from cryo_disentangle.protocols import ConformationPrior
from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["StandardNormal", "kl_standard_normal", "log_prob_standard_normal"]


def kl_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Divergence of a diagonal normal posterior from the standard normal prior.

    KL = Σ_j (μ_j² + σ_j² - 1 - log σ_j²) / 2.

    Args:
        mean: μ, shape (..., Z).
        log_variance: log σ², shape (..., Z).

    Returns:
        KL in nats, shape (...,), never negative.

    References:
        Kingma and Welling 2014, Auto-encoding variational Bayes, Appendix B.
    """
    return 0.5 * (mean.square() + log_variance.expm1() - log_variance).sum(-1)


def log_prob_standard_normal(conformation: Tensor) -> Tensor:
    """Log-density of the standard normal, -Σ_j (z_j² + log 2π) / 2.

    Args:
        conformation: z, shape (..., Z).

    Returns:
        Log-density in nats, shape (...,).
    """
    return -0.5 * (conformation.square() + math.log(2 * math.pi)).sum(-1)


class StandardNormal(nn.Module, ConformationPrior):
    """N(0, 1) in every coordinate, the prior of cryoDRGN."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Divergence of each posterior from the prior, `kl_standard_normal`.

        Args:
            inference: Posteriors of B particles.
            batch: Not read; other priors depend on time or temperature.

        Returns:
            KL in nats, shape (B,).
        """
        marginal = kl_standard_normal(inference.mean, inference.log_variance)
        return marginal + inference.total_correlation

    def log_prob(self, conformation: Tensor, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Log-density of conformations.

        Args:
            conformation: Shape (B, Z), or (B, 2, Z) for pairs.
            batch: Not read.

        Returns:
            Log-density in nats, shape (B,) or (B, 2).
        """
        return log_prob_standard_normal(conformation)

    def sample(
        self,
        batch: ParticleBatch,
        conformation_dim: int,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws a conformation for each particle.

        Args:
            batch: Gives the number of particles and the device.
            conformation_dim: Number Z of coordinates.
            generator: Source of randomness on the batch's device.

        Returns:
            Shape (B, Z), or (B, 2, Z) for pairs.
        """
        index = batch["index"]
        shape = (*index.shape, conformation_dim)
        return torch.randn(shape, device=index.device, generator=generator)
