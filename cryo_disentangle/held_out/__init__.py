"""Particles held out of training whose truth is known."""

from cryo_disentangle.held_out.oracle import true_molecule_posterior
from cryo_disentangle.held_out.particles import HeldOutParticles
from cryo_disentangle.held_out.sources import SimulatedFolder, SimulatedStream

__all__ = [
    "HeldOutParticles",
    "SimulatedFolder",
    "SimulatedStream",
    "true_molecule_posterior",
]
