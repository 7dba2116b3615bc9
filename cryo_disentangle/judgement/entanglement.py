"""Views that depend on the conformation in the truth itself, and what a leak is then."""

from __future__ import annotations

import torch
from torch import Tensor

from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.metrics.functional.leak import pose_leak
from cryo_disentangle.metrics.functional.probes import Split, nonlinear_predictions

__all__ = ["ENTANGLED", "measure_entanglement"]

ENTANGLED = 0.05
"""R² of a true factor from the view beyond which pose leak alone says nothing."""


def measure_entanglement(found: Measurement, particles: InferredParticles) -> None:
    """Measures how well views predict the true factors, and what of z they predict beyond these.

    Args:
        found: Gets the group ``entanglement`` where true factors and rotations are known:
            ``factors_from_view``, the R² of the true factor that views predict best, and
            ``leak_given_factors``, the mean over coordinates of the share of z's variance that
            views explain after what the true factors explain is taken away. Both are held out.
        particles: The particles that probes are fitted to.
    """
    factors, rotation = particles.factors, particles.rotation
    if factors is None or rotation is None:
        return
    with found.attempt("entanglement"):
        z, rest = particles.mean.double(), _unexplained(particles.mean, factors)
        share = rest.var(0) / z.var(0).clamp_min(torch.finfo(z.dtype).tiny)
        told = pose_leak(factors, rotation).nonlinear_r2.max()
        leak = (pose_leak(rest, rotation).nonlinear_r2 * share.clamp(max=1)).mean()
        found.keep("entanglement", {"factors_from_view": told, "leak_given_factors": leak})


def _unexplained(latents: Tensor, factors: Tensor) -> Tensor:
    """Latents (N, Z) without what factors of other particles say of them."""
    x, y = factors.double(), latents.double()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    rest = torch.empty_like(y)
    parts = order.tensor_split(3)
    for test in range(3):
        one, other = (parts[(test + step) % 3] for step in (1, 2))
        seen = torch.cat([one, other])
        cut = len(seen) * 3 // 4
        split = Split(seen[:cut], seen[cut:], parts[test])
        rest[parts[test]] = y[parts[test]] - nonlinear_predictions(x, y, split, seed=0)
    return rest
