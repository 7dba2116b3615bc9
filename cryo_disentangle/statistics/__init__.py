"""Sufficient statistics of particles in a subspace of volumes, read from images once.

With volumes V(c) = V_0 + Σ_k c_k V_k, known poses and CTFs, the likelihood of a particle's image is
a normal one of its coefficients c, whatever decoder, prior or penalty is trained afterwards.
"""

from cryo_disentangle.statistics.adoption import principal_volumes
from cryo_disentangle.statistics.datamodule import StatisticsData
from cryo_disentangle.statistics.folder import StatisticsFolder
from cryo_disentangle.statistics.image_posterior import SubspacePosterior
from cryo_disentangle.statistics.making import make_statistics
from cryo_disentangle.statistics.subspace import Subspace

__all__ = [
    "StatisticsData",
    "StatisticsFolder",
    "Subspace",
    "SubspacePosterior",
    "make_statistics",
    "principal_volumes",
]
