"""Sufficient statistics of particles in a subspace of volumes, read from images once.

With volumes V(c) = V_0 + Σ_k c_k V_k, known poses and CTFs, the likelihood of a particle's image is
a normal one of its coefficients c, whatever decoder, prior or penalty is trained afterwards.
"""

from cryo_disentangle.statistics.datamodule import StatisticsData
from cryo_disentangle.statistics.folder import StatisticsFolder
from cryo_disentangle.statistics.making import make_statistics

__all__ = [
    "StatisticsData",
    "StatisticsFolder",
    "make_statistics",
]
