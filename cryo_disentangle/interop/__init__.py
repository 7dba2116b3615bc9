"""cryoDRGN's run folders, in and out.

`CryoDRGNRun` opens a finished run: its networks, particles and latents. `CryoDRGNWriter` writes
one. cryoDRGN is not imported.
"""

from cryo_disentangle.interop.dataset import CryoDRGNParticles
from cryo_disentangle.interop.run import CryoDRGNRun

__all__ = [
    "CryoDRGNParticles",
    "CryoDRGNRun",
]
