"""What experiments on identifiability share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from cryo_disentangle.structures import Atoms


def exact_kl_weight(snr: float) -> float:
    """Weight of the divergence at which a posterior is as wide as the noise makes it.

    Twice the noise's variance in normalised images, mean |x - g|² being compared with KL / M.
    """
    return 2 / (1 + snr)


def pseudo_atoms(positions: Tensor) -> Atoms:
    """Gaussians of one electron each, numbered in one chain."""
    count = len(positions)
    names = np.full(count, "DUM")
    return Atoms(
        Path("pseudo-atoms"),
        positions.double().numpy(),
        np.zeros(count, dtype=np.int64),
        np.full(count, "A"),
        np.arange(1, count + 1),
        names,
        names,
        np.full(count, " "),
        np.ones(count),
        np.full(count, 100.0),
    )
