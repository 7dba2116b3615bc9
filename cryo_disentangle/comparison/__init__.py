"""Whether another run would say the same: latent spaces compared particle by particle."""

from cryo_disentangle.comparison.agreement import compare_latents

__all__ = [
    "compare_latents",
]
