"""Structures of pseudo-atoms, for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from cryo_disentangle.structures.atoms import Atoms

__all__ = ["made"]


def made(positions: Tensor, electrons: Tensor | None = None) -> Atoms:
    """Pseudo-atoms at given positions."""
    count = len(positions)
    weights = np.ones(count) if electrons is None else electrons.double().numpy()
    return Atoms(
        Path("made.cif"),
        positions.double().numpy(),
        np.zeros(count, dtype=np.int64),
        np.full(count, "A"),
        np.arange(1, count + 1),
        np.full(count, "DUM"),
        np.full(count, "DUM"),
        np.full(count, " "),
        weights,
        np.full(count, 100.0),
    )
