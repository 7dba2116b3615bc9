"""Particle stacks as people have them, in and out.

`ParticleStack.open` reads any of the usual files, `ParticleDataset` prepares batches as cryoDRGN
does, `ParticleData` hands them to Lightning, and writers make stacks, STAR files, volumes and
cryoDRGN's pickles. Nothing is half-written, nothing unpickles code, and memory does not grow with
the number of images.
"""

from cryo_disentangle.files import MrcsWriter, read_volume, write_volume
from cryo_disentangle.particles.blocks import BlockShuffledEpochs
from cryo_disentangle.particles.ctf import CtfOverrides, CtfTerms, check_ctf
from cryo_disentangle.particles.ctf_columns import ctf_from_cryosparc, ctf_from_star
from cryo_disentangle.particles.datamodule import ParticleData
from cryo_disentangle.particles.dataset import BatchedDataset, ParticleDataset, collated
from cryo_disentangle.particles.export import write_particles_star
from cryo_disentangle.particles.joining import is_table
from cryo_disentangle.particles.labels import ParticleLabels, read_labels
from cryo_disentangle.particles.pairs import (
    PairedDataset,
    earlier_frames,
    next_frames,
    split_trajectories,
)
from cryo_disentangle.particles.pickles import (
    read_ctf,
    read_indices,
    read_latents,
    read_poses,
    write_ctf,
    write_indices,
    write_latents,
    write_poses,
)
from cryo_disentangle.particles.pose_columns import (
    FractionalPoses,
    poses_from_cryosparc,
    poses_from_star,
)
from cryo_disentangle.particles.prepared import PreparedData
from cryo_disentangle.particles.preprocessing import (
    HartleyPreprocessing,
    ImageSource,
    Preprocessing,
    RealPreprocessing,
)
from cryo_disentangle.particles.sampling import (
    BatchesInOrder,
    InOrder,
    ParticleLoader,
    ShuffledEpochs,
    evaluation_loader,
    split_indices,
)
from cryo_disentangle.particles.splitting import SharedData, SplitData, SplitSettings
from cryo_disentangle.particles.stack import ParticleStack

__all__ = [
    "split_trajectories",
    "earlier_frames",
    "next_frames",
    "read_labels",
    "ParticleLabels",
    "PairedDataset",
    "BatchedDataset",
    "BatchesInOrder",
    "BlockShuffledEpochs",
    "CtfOverrides",
    "CtfTerms",
    "FractionalPoses",
    "HartleyPreprocessing",
    "ImageSource",
    "InOrder",
    "MrcsWriter",
    "ParticleData",
    "ParticleDataset",
    "ParticleLoader",
    "ParticleStack",
    "PreparedData",
    "Preprocessing",
    "RealPreprocessing",
    "SharedData",
    "ShuffledEpochs",
    "SplitData",
    "SplitSettings",
    "check_ctf",
    "collated",
    "ctf_from_cryosparc",
    "ctf_from_star",
    "evaluation_loader",
    "is_table",
    "poses_from_cryosparc",
    "poses_from_star",
    "read_ctf",
    "read_indices",
    "read_latents",
    "read_poses",
    "read_volume",
    "split_indices",
    "write_ctf",
    "write_indices",
    "write_latents",
    "write_particles_star",
    "write_poses",
    "write_volume",
]
