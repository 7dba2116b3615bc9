"""A page of pictures: what the particles of a simulation look like."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from cryo_disentangle.simulation.images import SimulatedImages
from cryo_disentangle.simulation.particles import Particles

__all__ = ["draw_contact_sheet"]

_VIEWS = 4
# All corners of more factors would be too many rows to look at.
_FACTORS_WITH_ALL_CORNERS = 3


def _corners(factors: Tensor) -> Tensor:
    """Corners of the range of factors, or its extremes along each factor if there are many."""
    low, high = (torch.quantile(factors, q, dim=0) for q in (0.02, 0.98))
    dim = factors.shape[1]
    if dim <= _FACTORS_WITH_ALL_CORNERS:
        choices = torch.tensor(list(itertools.product((False, True), repeat=dim)))
        return torch.where(choices, high, low)
    middle = factors.median(dim=0).values
    choices = torch.eye(dim, dtype=torch.bool).repeat_interleave(2, dim=0)
    extreme = torch.stack([low, high]).repeat(dim, 1)
    return torch.where(choices, extreme, middle)


def _shown(simulation: SimulatedImages, known: Particles) -> tuple[Tensor, Tensor]:
    """Factors and the molecule's coordinates of the rows of the sheet.

    Where factors do not determine the coordinates, those of the particle next to each corner.
    """
    corners = _corners(known.factors)
    if simulation.determined:
        return corners, simulation.hinges(corners.double()).float()
    spread = known.factors.std(0)
    nearest = torch.cdist(corners / spread, known.factors / spread).argmin(1)
    return known.factors[nearest], known.hinges[nearest]


def _pictures(
    simulation: SimulatedImages, corners: Tensor, hinges: Tensor
) -> tuple[Tensor, Tensor]:
    """Renders each corner from the same few views, clean and noisy."""
    draws = simulation.stack_draws(0, len(corners) * _VIEWS)
    particles = simulation.describe(draws)
    views = torch.arange(_VIEWS).repeat(len(corners))
    same = Particles(
        factors=corners.repeat_interleave(_VIEWS, dim=0),
        hinges=hinges.repeat_interleave(_VIEWS, dim=0),
        rotation=particles.rotation[views],
        translation=particles.translation[views],
        ctf=None if particles.ctf is None else particles.ctf[views],
    )
    clean = simulation.clean(same)
    return clean, simulation.add_noise(clean.clone(), draws)


def _fill(axes: npt.NDArray[Any], images: Tensor) -> None:
    """Shows images on one scale of grey, without frames."""
    low, high = np.quantile(images.numpy(), [0.002, 0.998])
    for image, axis in zip(images.numpy(), axes.flat, strict=True):
        axis.imshow(image, cmap="gray", vmin=low, vmax=high)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)


def draw_contact_sheet(simulation: SimulatedImages, path: Path) -> None:
    """Draws particles of every corner of the range of factors, clean and noisy.

    Args:
        simulation: What to draw.
        path: PNG file to write.
    """
    known = simulation.describe(simulation.stack_draws(0, 1024))
    corners, hinges = _shown(simulation, known)
    clean, noisy = _pictures(simulation, corners, hinges)
    halves = {"clean": clean} if simulation.noise_std == 0 else {"clean": clean, "noisy": noisy}
    rows = len(corners)
    figure = Figure(figsize=(1.1 * _VIEWS * len(halves) + 1.4, 1.1 * rows + 0.7))
    FigureCanvasAgg(figure)
    outer = figure.add_gridspec(
        1,
        len(halves),
        left=1.3 / figure.get_figwidth(),
        right=0.99,
        top=1 - 0.35 / figure.get_figheight(),
        bottom=0.3 / figure.get_figheight(),
        wspace=0.04,
    )
    for column, (title, images) in enumerate(halves.items()):
        inner = outer[column].subgridspec(rows, _VIEWS, wspace=0.04, hspace=0.04)
        axes = inner.subplots(squeeze=False)
        _fill(axes, images)
        axes[0, 0].set_title(title, loc="left", fontsize=10)
        if column == 0:
            for row, corner in enumerate(corners.tolist()):
                label = ", ".join(f"{value:+.2f}" for value in corner)
                axes[row, 0].set_ylabel(
                    f"z = ({label})", rotation=0, ha="right", va="center", fontsize=8
                )
    side = simulation.box_size * simulation.pixel_size
    caption = f"each picture {side:.0f} Å wide ({simulation.box_size} pixels)"
    figure.text(0.5, 0.01, caption, ha="center", va="bottom", fontsize=8)
    figure.savefig(path, dpi=130, format="png", facecolor="white")
