"""Pictures of a subspace: what its volumes are worth, and up to where its halves agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.statistics.checks import HeldOutGains

__all__ = ["draw_correlations", "draw_gains", "save_picture"]

_BLUE, _GREY = "#0072B2", "0.6"


def draw_gains(gains: HeldOutGains, rank: int) -> Figure:
    """Draws the held-out likelihood against the number of volumes.

    Args:
        gains: Of each rank that was tried.
        rank: The one that was kept.

    Returns:
        The picture.
    """
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    ranks = np.arange(len(gains.gain) + 1)
    axes.plot(ranks, np.concatenate([[0], gains.gain.numpy()]), "o-", color=_BLUE)
    axes.axvline(rank, color=_GREY, linestyle=":", label=f"kept: {rank}")
    axes.set(xlabel="volumes besides the mean", ylabel="held-out gain (nats a particle)")
    axes.set_xticks(ranks)
    axes.legend()
    return figure


def draw_correlations(mean: Tensor, volumes: Tensor, box_angstrom: float) -> Figure:
    """Draws the Fourier shell correlations of half sets.

    Args:
        mean: Of the mean's half maps, shape (R,).
        volumes: Of the subspace's volumes, the mean first, shape (Q, K + 1).
        box_angstrom: Side of the box in Å.

    Returns:
        The picture.
    """
    figure = Figure(figsize=(4.5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(np.arange(len(mean)) / box_angstrom, mean, color="black", label="mean")
    for number in range(1, volumes.shape[1]):
        curve = volumes[:, number]
        label = f"volume {number}"
        axes.plot(np.arange(len(curve)) / box_angstrom, curve, label=label, linewidth=1)
    axes.axhline(0.143, color=_GREY, linestyle=":")
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="correlation of half sets", ylim=(-0.1, 1.05))
    axes.legend(fontsize="small")
    return figure


def save_picture(figure: Figure, path: Path) -> None:
    """Writes a picture, whole or not at all.

    Args:
        figure: The picture.
        path: PNG file.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
