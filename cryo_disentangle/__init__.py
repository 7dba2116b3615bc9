"""Latent spaces of cryo-EM heterogeneous reconstruction that mean something."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cryo_disentangle.version import __version__

if TYPE_CHECKING:
    from cryo_disentangle.callbacks import DisentanglementMetrics, PoseInterventionPenalty
    from cryo_disentangle.decoders import ImplicitDecoder
    from cryo_disentangle.encoders import MLPEncoder
    from cryo_disentangle.modules import HeterogeneousReconstruction
    from cryo_disentangle.particles import ParticleData

__all__ = [
    "DisentanglementMetrics",
    "HeterogeneousReconstruction",
    "ImplicitDecoder",
    "MLPEncoder",
    "ParticleData",
    "PoseInterventionPenalty",
    "__version__",
]

_ROOMS = {
    "DisentanglementMetrics": "callbacks",
    "HeterogeneousReconstruction": "modules",
    "ImplicitDecoder": "decoders",
    "MLPEncoder": "encoders",
    "ParticleData": "particles",
    "PoseInterventionPenalty": "callbacks",
}


# Loaded on demand, since help of the command line needs no torch.
def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the above
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_ROOMS[name]}"), name)
