"""Prior distributions of the conformation, and whether data can identify it by them.

Each prior knows its divergence from a posterior, its log-density, and how to draw from it.
Classes name their protocol as a base so that configuration files find them by short names.
"""

from cryo_disentangle.priors.boltzmann import Boltzmann
from cryo_disentangle.priors.generalized_normal import GeneralizedNormal
from cryo_disentangle.priors.identifiability import temperature_identifiability
from cryo_disentangle.priors.laplace_transition import LaplaceTransition
from cryo_disentangle.priors.slowness import slowness_identifiability
from cryo_disentangle.priors.standard_normal import StandardNormal
from cryo_disentangle.priors.temperature_normal import ArrheniusLaw, LevelTable, TemperatureNormal

__all__ = [
    "ArrheniusLaw",
    "Boltzmann",
    "GeneralizedNormal",
    "LaplaceTransition",
    "LevelTable",
    "StandardNormal",
    "TemperatureNormal",
    "slowness_identifiability",
    "temperature_identifiability",
]
