"""What experiments on identifiability share."""

from __future__ import annotations


def exact_kl_weight(snr: float) -> float:
    """Weight of the divergence at which a posterior is as wide as the noise makes it.

    Twice the noise's variance in normalised images, mean |x - g|² being compared with KL / M.
    """
    return 2 / (1 + snr)
