"""Pictures of reconstructions and of latent spaces, drawn without a display."""

from cryo_disentangle.drawing.inferred import (
    draw_by_factor,
    draw_by_pose,
    draw_matching,
    draw_reconstructions,
    draw_turning,
)
from cryo_disentangle.drawing.latent_space import (
    draw_correlations,
    draw_drift,
    draw_metrics,
    draw_traversals,
)
from cryo_disentangle.drawing.reconstructions import (
    draw_curves,
    draw_fsc,
    draw_images,
    draw_latents,
    draw_volumes,
)

__all__ = [
    "draw_by_factor",
    "draw_by_pose",
    "draw_correlations",
    "draw_curves",
    "draw_drift",
    "draw_fsc",
    "draw_images",
    "draw_latents",
    "draw_matching",
    "draw_metrics",
    "draw_reconstructions",
    "draw_traversals",
    "draw_turning",
    "draw_volumes",
]
