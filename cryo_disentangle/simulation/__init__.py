"""Particle stacks whose true factors are known: molecules, conformations, and the microscope."""

from cryo_disentangle.simulation.microscope import ColouredNoise, Microscope, WhiteNoise
from cryo_disentangle.simulation.mixing import LinearMixing, ShearMixing
from cryo_disentangle.simulation.processes import (
    CorrelatedFactors,
    FactorPath,
    LaplaceFactors,
    NormalFactors,
    UniformFactors,
)
from cryo_disentangle.simulation.simulation import Simulation
from cryo_disentangle.simulation.transfer import ContrastTransferFromFile, ContrastTransferRange
from cryo_disentangle.simulation.two_arms import TwoArms
from cryo_disentangle.simulation.views import (
    ConcentratedViews,
    InPlaneViews,
    NormalShifts,
    ShiftsFromFile,
    UniformShifts,
    UniformViews,
    ViewsFromFile,
)

__all__ = [
    "ColouredNoise",
    "ConcentratedViews",
    "ContrastTransferFromFile",
    "ContrastTransferRange",
    "CorrelatedFactors",
    "FactorPath",
    "InPlaneViews",
    "LaplaceFactors",
    "LinearMixing",
    "Microscope",
    "NormalFactors",
    "NormalShifts",
    "ShearMixing",
    "ShiftsFromFile",
    "Simulation",
    "TwoArms",
    "UniformFactors",
    "UniformShifts",
    "UniformViews",
    "ViewsFromFile",
    "WhiteNoise",
]
