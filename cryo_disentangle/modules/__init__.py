"""LightningModules: the parts put together for training."""

from cryo_disentangle.modules.cryodrgn import CryoDRGNReconstruction
from cryo_disentangle.modules.heterogeneous import HeterogeneousReconstruction

__all__ = ["CryoDRGNReconstruction", "HeterogeneousReconstruction"]
