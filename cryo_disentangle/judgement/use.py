"""How much of each latent coordinate images determine, by one definition."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.judgement.inferred import InferredParticles

__all__ = ["IN_USE", "predicted_spread", "share_known"]

IN_USE = 0.5
"""A coordinate is in use where images determine more than this share of its variance."""

# Of the variance: an overconfident prior or posterior could leave nothing, or less.
_LEAST_SPREAD = 0.05


def share_known(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Evaluates the share of each coordinate's variance that images determine.

    With m the means of posteriors and σ² their variances it is Var m / (Var m + E σ²), by the law
    of total variance: no unit of z and no prior comes in.

    Args:
        mean: Posterior means, shape (N, Z).
        log_variance: Logarithm of the posteriors' variances, shape (N, Z).

    Returns:
        Shape (Z,), 0 where neither varies.
    """
    spread = mean.double().var(0)
    total = spread + log_variance.double().exp().mean(0)
    return torch.where(total > 0, spread / total.where(total > 0, torch.ones_like(total)), 0.0)


def predicted_spread(particles: InferredParticles) -> Tensor | None:
    """Predicts the spread that honest posterior means have at each particle's view.

    With V the variance of z, the means of posteriors of variance σ² vary by V - σ²: where a view
    tells little they lie close together, and that is no leak.

    Args:
        particles: The particles.

    Returns:
        Standard deviations, shape (N, Z), or None where no uncertainty is known.
    """
    if particles.log_variance is None:
        return None
    width = particles.log_variance.double().exp()
    total = particles.mean.double().var(0) + width.mean(0)
    least = _LEAST_SPREAD * total.clamp(min=torch.finfo(torch.float64).tiny)
    return (total - width).maximum(least).sqrt()
