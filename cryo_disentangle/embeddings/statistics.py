"""Latents of our own statistics: what images tell of coefficients in a subspace of volumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cryo_disentangle.embeddings.embedding import Embedding, ParticlePoses
from cryo_disentangle.statistics import StatisticsFolder
from cryo_disentangle.statistics.folder import DESCRIPTION
from cryo_disentangle.statistics.posterior import Likelihood

__all__ = ["is_statistics", "read_statistics"]

_AT_ONCE = 2**16


def is_statistics(folder: Path) -> bool:
    """Returns whether a folder holds particles' statistics.

    Args:
        folder: Any folder.

    Returns:
        Whether it is one of ``cryo-disentangle statistics``.
    """
    return (folder / DESCRIPTION).is_file()


def read_statistics(folder: Path) -> Embedding:
    """Takes coefficients as latents, with their posteriors under a standard normal prior.

    Args:
        folder: What ``cryo-disentangle statistics`` has written.

    Returns:
        The embedding; ``extra`` has the half set of each particle.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the statistics are damaged.
    """
    found = StatisticsFolder.open(folder)
    kept = found.statistics
    means, covariances = [], []
    for start in range(0, len(kept), _AT_ONCE):
        part = kept.take(slice(start, start + _AT_ONCE))
        posterior = Likelihood(
            part.precision.double(), part.information.double(), part.offset
        ).posterior()
        means.append(posterior.mean)
        covariances.append(posterior.covariance)
    return Embedding(
        "cryo-disentangle statistics",
        folder / DESCRIPTION,
        torch.cat(means).numpy(),
        covariance=torch.cat(covariances).numpy(),
        rows=kept.index.numpy(),
        poses=ParticlePoses(kept.rotation.numpy(), None, "box", folder / "rotation.npy"),
        particles=found.origin.particles,
        extra={"half": np.asarray(kept.half)},
    )
