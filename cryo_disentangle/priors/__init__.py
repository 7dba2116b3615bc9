"""Prior distributions of the conformation; each knows its divergence from a posterior."""

from cryo_disentangle.priors.standard_normal import StandardNormal, kl_standard_normal

__all__ = ["StandardNormal", "kl_standard_normal"]
