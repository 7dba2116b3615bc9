"""BetaVAE and FactorVAE scores: fix one factor, and test whether a simple rule finds which.

Each score has three parts: what one intervention gives (features, votes), how accurate the rule is
on many, and two ways to intervene: by making samples, or by finding them among stored latents.
"""

from cryo_disentangle.metrics.functional._beta_vae import (
    beta_vae_accuracy,
    beta_vae_features,
    beta_vae_score,
    beta_vae_score_from_codes,
)
from cryo_disentangle.metrics.functional._factor_vae import (
    active_variances,
    factor_vae_accuracy,
    factor_vae_score,
    factor_vae_score_from_codes,
    factor_vae_votes,
)
from cryo_disentangle.metrics.functional._fixed_factors import DrawFactors, Encode

__all__ = [
    "DrawFactors",
    "Encode",
    "active_variances",
    "beta_vae_accuracy",
    "beta_vae_features",
    "beta_vae_score",
    "beta_vae_score_from_codes",
    "factor_vae_accuracy",
    "factor_vae_score",
    "factor_vae_score_from_codes",
    "factor_vae_votes",
]
