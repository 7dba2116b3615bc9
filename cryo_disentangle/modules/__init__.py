"""Models put together: as plain torch for any loop, and as LightningModules for training."""

from cryo_disentangle.modules.assembly import assembled
from cryo_disentangle.modules.cryodrgn import CryoDRGNReconstruction
from cryo_disentangle.modules.heterogeneous import HeterogeneousReconstruction
from cryo_disentangle.modules.image_model import HeterogeneousModel
from cryo_disentangle.modules.subspace import SubspaceReconstruction
from cryo_disentangle.modules.training import LatentTraining

__all__ = [
    "CryoDRGNReconstruction",
    "HeterogeneousModel",
    "HeterogeneousReconstruction",
    "LatentTraining",
    "SubspaceReconstruction",
    "assembled",
]
