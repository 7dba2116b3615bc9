"""A small stack with views from everywhere, a CTF and two hinges."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cryo_disentangle.particles import ParticleStack
from cryo_disentangle.simulation import (
    Microscope,
    Simulation,
    TwoArms,
    UniformFactors,
    UniformViews,
    WhiteNoise,
)
from cryo_disentangle.statistics.making import ParticleRows
from cryo_disentangle.statistics.views import open_images


class Silent:
    """Is told how far the work is, and says nothing."""

    def say(self, what: str) -> None:
        """A choice was made."""

    def start(self, what: str, total: int) -> None:
        """A stage begins."""

    def advance(self, count: int) -> None:
        """Units are done."""


def write_stack(folder: Path, *, count: int = 1200, snr: float = 2.0) -> Path:
    """Writes a simulated stack."""
    simulation = Simulation(
        TwoArms(),
        UniformFactors(2),
        Microscope(UniformViews(), None, None, WhiteNoise(snr)),
        n_images=count,
        box_size=16,
        pixel_size=8.5,
        seed=3,
    )
    simulation.write(folder)
    return folder


def open_rows(folder: Path, indices: np.ndarray | None = None) -> ParticleRows:
    """Opens it as statistics are made of it."""
    stack = ParticleStack.open(
        folder / "particles.mrcs", poses=folder / "poses.pkl", indices=indices
    )
    images = open_images(stack, invert=True, norm=None)
    total = len(ParticleStack.open(folder / "particles.mrcs"))
    index = np.arange(len(stack)) if indices is None else indices
    return ParticleRows(images, index, total)
