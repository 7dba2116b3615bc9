"""Particles held out of training whose truth is known."""

from cryo_disentangle.held_out.oracle import true_molecule_posterior
from cryo_disentangle.held_out.particles import (
    HeldOutParticles,
    HeldOutSource,
    make_true_generator,
)
from cryo_disentangle.held_out.sources import SimulatedFolder, SimulatedStream

__all__ = [
    "HeldOutParticles",
    "HeldOutSource",
    "SimulatedFolder",
    "SimulatedStream",
    "make_true_generator",
    "true_molecule_posterior",
]
