"""Sufficient statistics of particles in a subspace of volumes, read from images once.

With volumes V(c) = V_0 + Σ_k c_k V_k, known poses and CTFs, the likelihood of a particle's image is
a normal one of its coefficients c, whatever decoder, prior or penalty is trained afterwards.
"""

from cryo_disentangle.statistics.adoption import adopted, principal_volumes
from cryo_disentangle.statistics.datamodule import StatisticsData
from cryo_disentangle.statistics.dataset import StatisticsDataset
from cryo_disentangle.statistics.estimation import Estimate, estimate
from cryo_disentangle.statistics.folder import StatisticsFolder
from cryo_disentangle.statistics.gathering import Gathering
from cryo_disentangle.statistics.image_posterior import SubspacePosterior
from cryo_disentangle.statistics.making import ParticleRows, make_statistics
from cryo_disentangle.statistics.nuisance import Nuisance
from cryo_disentangle.statistics.origin import StatisticsOrigin, digest_particles
from cryo_disentangle.statistics.particle_statistics import ParticleStatistics
from cryo_disentangle.statistics.settings import SubspaceSettings
from cryo_disentangle.statistics.subspace import Subspace
from cryo_disentangle.statistics.views import open_images
from cryo_disentangle.statistics.writing import StatisticsWriter

__all__ = [
    "Estimate",
    "Gathering",
    "Nuisance",
    "ParticleRows",
    "ParticleStatistics",
    "StatisticsData",
    "StatisticsDataset",
    "StatisticsFolder",
    "StatisticsOrigin",
    "StatisticsWriter",
    "Subspace",
    "SubspacePosterior",
    "SubspaceSettings",
    "adopted",
    "digest_particles",
    "estimate",
    "make_statistics",
    "open_images",
    "principal_volumes",
]
