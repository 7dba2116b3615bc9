"""cryoDRGN's run folders, in and out.

`CryoDRGNRun` opens a finished run: its networks, particles and latents. `CryoDRGNWriter` writes
one. cryoDRGN is not imported.
"""

from cryo_disentangle.interop.adam import continue_adam
from cryo_disentangle.interop.dataset import CryoDRGNParticles
from cryo_disentangle.interop.networks import cryodrgn_model_args, cryodrgn_weights
from cryo_disentangle.interop.run import CryoDRGNRun
from cryo_disentangle.interop.weights import read_weights
from cryo_disentangle.interop.writing import CryoDRGNWriter

__all__ = [
    "CryoDRGNParticles",
    "CryoDRGNRun",
    "CryoDRGNWriter",
    "continue_adam",
    "cryodrgn_model_args",
    "cryodrgn_weights",
    "read_weights",
]
