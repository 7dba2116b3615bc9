"""Particle stacks as people have them, in and out.

`ParticleStack.open` reads any of the usual files, `ParticleDataset` prepares batches as cryoDRGN
does, `ParticleData` hands them to Lightning, and writers make stacks, STAR files, volumes and
cryoDRGN's pickles. Nothing is half-written, nothing unpickles code, and memory does not grow with
the number of images.
"""

from cryo_disentangle.files.maps import read_volume
from cryo_disentangle.files.stacks import MrcsWriter
from cryo_disentangle.particles.datamodule import ParticleData
from cryo_disentangle.particles.dataset import ParticleDataset
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.particles.pickles import read_latents, read_poses
from cryo_disentangle.particles.preprocessing import HartleyPreprocessing, RealPreprocessing
from cryo_disentangle.particles.stack import ParticleStack

__all__ = [
    "HartleyPreprocessing",
    "MrcsWriter",
    "ParticleData",
    "ParticleDataset",
    "ParticleStack",
    "RealPreprocessing",
    "read_latents",
    "read_poses",
    "read_volume",
    "write_particles_star",
]
