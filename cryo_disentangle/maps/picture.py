"""A picture of the maps at both ends of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cryo_disentangle.drawing.style import WIDTH
from cryo_disentangle.maps.difference import MapDifference

__all__ = ["draw_ends"]

Array = npt.NDArray[Any]

# Okabe and Ito 2008: told apart with any colour vision.
_COLOURS = ("#0072B2", "#D55E00")
_LOW_HIGH = ("low end", "high end")


def draw_ends(
    name: str,
    found: MapDifference,
    rotations: Sequence[Array],
    correlations: Sequence[Array],
    pixel_size: float,
) -> Figure:
    """Draws maps at both ends, where they differ, and from where their particles are seen.

    Args:
        name: Of the axis.
        found: Maps and difference.
        rotations: Of the particles at the low and the high end, each (n, 3, 3), as in `Pose`.
        correlations: Fourier shell correlations of their half maps, each (D // 2 + 1,).
        pixel_size: Å per voxel.

    Returns:
        The figure: projections along z, slices through the largest difference, views and
        correlations.
    """
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(3, 3)
    volumes = (found.low, found.high)
    _images(grid[0], [v.sum(axis=0) for v in volumes], ["projection, " + w for w in _LOW_HIGH])
    depth = found.place[0]
    height = (depth - found.low.shape[0] // 2) * pixel_size
    slices = [v[depth] for v in volumes]
    _images(grid[1], slices, [f"slice at z = {height:.0f} Å, {word}" for word in _LOW_HIGH])
    projected = (found.high - found.low).sum(axis=0)
    _signed(figure, grid[0, 2], projected, float(np.abs(projected).max()), "high - low")
    _signed(
        figure, grid[1, 2], found.significance[depth], max(found.peak, found.limit), "difference, σ"
    )
    _mark(grid[1, 2], found)
    for axes, rotation, word, colour in zip(grid[2], rotations, _LOW_HIGH, _COLOURS, strict=False):
        _views(axes, rotation, f"views, {word}", colour)
    _correlations(grid[2, 2], correlations, found.low.shape[0] * pixel_size)
    verdict = "differ" if found.significant else "do not differ beyond noise"
    figure.suptitle(
        f"{name}: its ends {verdict}\n(peak {found.peak:.1f} σ, noise reaches {found.limit:.1f} σ)",
        fontsize=11,
    )
    return figure


def _images(grid: Array, images: Sequence[Array], titles: Sequence[str]) -> None:
    """Images in one scale of grey."""
    low, high = np.percentile(np.stack(images), [0.5, 99.8])
    for axes, image, title in zip(grid, images, titles, strict=False):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower")
        axes.set(xticks=[], yticks=[])
        axes.set_title(title, fontsize=9)


def _signed(figure: Figure, axes: Axes, image: Array, most: float, title: str) -> None:
    """An image whose values have a sign: more is red, less is blue."""
    most = most or 1.0
    shown = axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most, origin="lower")
    figure.colorbar(shown, ax=axes, shrink=0.8)
    axes.set(xticks=[], yticks=[])
    axes.set_title(title, fontsize=9)


def _mark(axes: Axes, found: MapDifference) -> None:
    """Rounds what is beyond noise, and the peak."""
    image = found.significance[found.place[0]]
    if found.significant:
        axes.contour(np.abs(image), levels=[found.limit], colors="black", linewidths=0.7)
    axes.plot(found.place[2], found.place[1], "k+", markersize=8)


def _views(axes: Axes, rotation: Array, title: str, colour: str) -> None:
    """Viewing directions, in a map of the sphere of equal areas."""
    direction = rotation[:, 2]
    longitude = np.degrees(np.arctan2(direction[:, 1], direction[:, 0]))
    size = float(np.clip(600 / len(direction), 0.3, 6))
    axes.plot(longitude, direction[:, 2], ".", color=colour, markersize=size, alpha=0.5)
    axes.set(xlim=(-180, 180), ylim=(-1, 1), xticks=[-180, 0, 180], yticks=[-1, 0, 1])
    axes.set_xlabel("longitude (°)", fontsize=9)
    axes.set_ylabel("cos(tilt)", fontsize=9)
    axes.set_title(f"{title} ({len(direction):,})", fontsize=9)


def _correlations(axes: Axes, correlations: Sequence[Array], side_angstrom: float) -> None:
    """Fourier shell correlations of the half maps."""
    for correlation, word, colour in zip(correlations, _LOW_HIGH, _COLOURS, strict=True):
        frequency = np.arange(len(correlation)) / side_angstrom
        axes.plot(frequency, correlation, color=colour, label=word)
    axes.axhline(0.143, color="black", lw=0.8, ls=":")
    axes.axhline(0, color="black", lw=0.5)
    axes.set(ylim=(-0.15, 1.05), title="half maps")
    axes.set_xlabel("spatial frequency (1/Å)", fontsize=9)
    axes.set_ylabel("FSC", fontsize=9)
    axes.title.set_fontsize(9)
    axes.legend(fontsize=9, frameon=False)
