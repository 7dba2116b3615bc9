"""Standard normal prior of the variational autoencoder."""

from __future__ import annotations

from torch import Tensor, nn

from cryo_disentangle.types import Inference, ParticleBatch

__all__ = ["StandardNormal", "kl_standard_normal"]


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


class StandardNormal(nn.Module):
    """N(0, 1) in every coordinate, the prior of cryoDRGN."""

    def kl(self, inference: Inference, batch: ParticleBatch) -> Tensor:  # noqa: ARG002
        """Divergence of each posterior from the prior, `kl_standard_normal`.

        Args:
            inference: Posteriors of B particles.
            batch: Not read; other priors depend on time or temperature.

        Returns:
            KL in nats, shape (B,).
        """
        return kl_standard_normal(inference.mean, inference.log_variance)
