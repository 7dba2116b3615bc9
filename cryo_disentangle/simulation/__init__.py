"""Particle stacks whose true factors are known: molecules, conformations, and the microscope."""

from cryo_disentangle.simulation.adenylate_kinase import AdenylateKinase, adenylate_kinase_path
from cryo_disentangle.simulation.configuration import load_molecule
from cryo_disentangle.simulation.energies import DoubleWell, FrozenBelow, Harmonic
from cryo_disentangle.simulation.laplace_walk import LaplacePairs, LaplaceWalk
from cryo_disentangle.simulation.learned import (
    LearnedMolecule,
    PosteriorFactors,
    measure_invertibility,
)
from cryo_disentangle.simulation.microscope import ColouredNoise, Microscope, WhiteNoise
from cryo_disentangle.simulation.mixing import LinearMixing, ShearMixing
from cryo_disentangle.simulation.molecule import GaussianMolecule, Hinge
from cryo_disentangle.simulation.processes import (
    CorrelatedFactors,
    FactorPath,
    LaplaceFactors,
    NormalFactors,
    UniformFactors,
)
from cryo_disentangle.simulation.resting import resting_structure
from cryo_disentangle.simulation.rigid_domains import RigidDomains
from cryo_disentangle.simulation.simulation import Simulation
from cryo_disentangle.simulation.solvent import InSolvent
from cryo_disentangle.simulation.stream import SimulatedDataset, SimulatedParticles
from cryo_disentangle.simulation.temperature import BoltzmannFactors, TemperatureNormal
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
    "AdenylateKinase",
    "BoltzmannFactors",
    "ColouredNoise",
    "ConcentratedViews",
    "ContrastTransferFromFile",
    "ContrastTransferRange",
    "CorrelatedFactors",
    "DoubleWell",
    "FactorPath",
    "FrozenBelow",
    "GaussianMolecule",
    "Harmonic",
    "Hinge",
    "InPlaneViews",
    "InSolvent",
    "LaplaceFactors",
    "LaplacePairs",
    "LaplaceWalk",
    "LearnedMolecule",
    "LinearMixing",
    "Microscope",
    "NormalFactors",
    "NormalShifts",
    "PosteriorFactors",
    "RigidDomains",
    "ShearMixing",
    "ShiftsFromFile",
    "SimulatedDataset",
    "SimulatedParticles",
    "Simulation",
    "TemperatureNormal",
    "TwoArms",
    "UniformFactors",
    "UniformShifts",
    "UniformViews",
    "ViewsFromFile",
    "WhiteNoise",
    "adenylate_kinase_path",
    "load_molecule",
    "measure_invertibility",
    "resting_structure",
]
