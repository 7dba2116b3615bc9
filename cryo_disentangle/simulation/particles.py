"""What is true of simulated particles."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["Particles"]


class Particles(NamedTuple):
    """True factors, poses and CTFs of simulated particles.

    Attributes:
        factors: True factors of variation, before mixing, shape (B, K), float32.
        hinges: Coordinates of the molecule, after mixing, shape (B, K), or (B, C) where factors do
            not determine them, float32.
        rotation: As in `Pose`, shape (B, 3, 3), float32.
        translation: As in `Pose`, (x, y) in pixels, shape (B, 2), float32.
        ctf: Columns as in `ParticleBatch`, shape (B, 9), float32, or None.
        time: Time stamps, shape (B,), float32, or None.
        trajectory: Numbers of trajectories, shape (B,), int64, or None.
        temperature: In kelvin, shape (B,), float32, or None.
    """

    factors: Tensor
    hinges: Tensor
    rotation: Tensor
    translation: Tensor
    ctf: Tensor | None = None
    time: Tensor | None = None
    trajectory: Tensor | None = None
    temperature: Tensor | None = None
