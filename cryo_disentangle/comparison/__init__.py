"""Whether another run would say the same: latent spaces compared particle by particle."""

from cryo_disentangle.comparison.agreement import (
    Agreement,
    AxisAgreement,
    Level,
    compare_latents,
)
from cryo_disentangle.comparison.particles_in_common import common_particles

__all__ = ["Agreement", "AxisAgreement", "Level", "common_particles", "compare_latents"]
