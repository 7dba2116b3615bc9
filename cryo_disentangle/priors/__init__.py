"""Prior distributions of the conformation, and whether data can identify it by them.

Each prior knows its divergence from a posterior, its log-density, and how to draw from it.
Classes name their protocol as a base so that configuration files find them by short names.
"""

from cryo_disentangle.priors.boltzmann import Boltzmann
from cryo_disentangle.priors.identifiability import (
    TemperatureIdentifiability,
    identifiability_of_moments,
    temperature_identifiability,
)
from cryo_disentangle.priors.laplace_transition import LaplaceTransition, kl_laplace
from cryo_disentangle.priors.slowness import SlownessIdentifiability, slowness_identifiability
from cryo_disentangle.priors.standard_normal import (
    StandardNormal,
    kl_standard_normal,
    log_prob_standard_normal,
)
from cryo_disentangle.priors.temperature_normal import (
    ArrheniusLaw,
    LevelTable,
    NormalMoments,
    TemperatureLaw,
    TemperatureNormal,
)

__all__ = [
    "ArrheniusLaw",
    "Boltzmann",
    "LaplaceTransition",
    "LevelTable",
    "NormalMoments",
    "SlownessIdentifiability",
    "StandardNormal",
    "TemperatureIdentifiability",
    "TemperatureLaw",
    "TemperatureNormal",
    "identifiability_of_moments",
    "kl_laplace",
    "kl_standard_normal",
    "log_prob_standard_normal",
    "slowness_identifiability",
    "temperature_identifiability",
]
