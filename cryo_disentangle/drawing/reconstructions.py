"""Pictures of a reconstruction, drawn without a display."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

__all__ = ["draw_curves", "draw_fsc", "draw_images", "draw_latents", "draw_volumes"]

# Okabe and Ito 2008: told apart with any colour vision.
_BLUE, _ORANGE, _GREEN = "#0072B2", "#E69F00", "#009E73"

# A cyclic scale for any colour vision, darkened, since its lightest end is lost on white.
_CIRCLE = ListedColormap(0.85 * np.asarray(colormaps["twilight"](np.linspace(0, 1, 256)))[:, :3])
_PANELS_ACROSS = 2

FloatArray = npt.NDArray[np.floating]


def _limits(images: FloatArray) -> tuple[float, float]:
    """Grey levels that a few outliers don't flatten."""
    low, high = np.percentile(images, [0.5, 99.5])
    return float(low), float(high)


def _show(axes: Axes, image: FloatArray, limits: tuple[float, float]) -> None:
    """Shows an image in grey, row 0 at the bottom, without ticks."""
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], origin="lower")
    axes.set(xticks=[], yticks=[])


def draw_curves(
    steps: Sequence[int],
    training: Sequence[float],
    validation: Sequence[float],
    unit: str = "optimiser steps",
) -> Figure:
    """Draws the loss at the end of each epoch.

    Args:
        steps: Optimiser steps, or epochs, done.
        training: Mean training loss of the epoch.
        validation: Validation loss; NaN where there was none.
        unit: What is counted by ``steps``.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, training, color=_BLUE, marker="o", markersize=3, label="training")
    if np.isfinite(validation).any():
        axes.plot(steps, validation, color=_ORANGE, marker="s", markersize=3, label="held out")
    axes.set(xlabel=unit, ylabel="loss (1 = variance of an image)")
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


def draw_images(observed: FloatArray, rendered: FloatArray, pixel_size: float) -> Figure:
    """Draws particles above what the model renders of them.

    Args:
        observed: Centred particle images, shape (N, D, D).
        rendered: The model's noise-free images of the same particles, shape (N, D, D).
        pixel_size: Å per pixel.

    Returns:
        The figure.
    """
    count = len(observed)
    figure = Figure(figsize=(1.35 * count, 3.2), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for row, (name, images) in enumerate([("particle", observed), ("model", rendered)]):
        for column, image in enumerate(images):
            _show(axes[row, column], image, _limits(image))
        axes[row, 0].set_ylabel(name)
    side = observed.shape[-1] * pixel_size
    figure.suptitle(f"Held-out particles and their reconstructions (box {side:.0f} Å)", fontsize=10)
    return figure


def draw_latents(
    latents: FloatArray,
    colours: FloatArray,
    names: Sequence[str],
    chosen: FloatArray | None = None,
    *,
    cyclic: Collection[str] = (),
    title: str | None = None,
) -> Figure:
    """Draws conformations, once for each quantity that colours them.

    Args:
        latents: Posterior means, shape (N, Z); the two axes of largest variance are drawn.
        colours: Shape (N, C).
        names: What the C columns are.
        chosen: Latents whose volumes are shown elsewhere, shape (K, Z); numbered in the picture.
        cyclic: Names of the columns that are angles in degrees, of period 360.
        title: Title of the figure.

    Returns:
        The figure, in rows of at most two panels.
    """
    across = min(len(names), _PANELS_ACROSS)
    down = -(-len(names) // across)
    figure = Figure(figsize=(4.6 * across, 3.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    order = np.argsort(-latents.var(axis=0))
    x, y = (int(order[0]), int(order[1])) if len(order) > 1 else (0, 0)
    for axes, colour, name in zip(panels, colours.T, names, strict=False):
        vertical = latents[:, y] if x != y else colour
        scale: dict[str, Any] = {"cmap": "viridis"}
        if name in cyclic:
            scale = {"cmap": _CIRCLE, "vmin": -180, "vmax": 180}
        points = axes.scatter(latents[:, x], vertical, c=colour, s=5, linewidths=0, **scale)
        ticks = np.arange(-180, 181, 90) if name in cyclic else None
        figure.colorbar(points, ax=axes, label=name, ticks=ticks)
        axes.set(xlabel=f"z{x + 1}", ylabel=f"z{y + 1}" if x != y else name)
        if x != y and chosen is not None:
            _number(axes, chosen[:, [x, y]])
    for axes in panels[len(names) :]:
        axes.remove()
    if title is not None:
        figure.suptitle(title, fontsize=10)
    return figure


def _number(axes: Axes, places: FloatArray) -> None:
    """Writes 1, 2, ... at some places, shape (K, 2)."""
    for number, place in enumerate(places, start=1):
        axes.annotate(
            str(number),
            (place[0], place[1]),
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.6},
        )


def draw_volumes(volumes: FloatArray, pixel_size: float) -> Figure:
    """Draws each volume's projections along two axes.

    Args:
        volumes: Shape (K, D, D, D), axes z, y, x.
        pixel_size: Å per pixel.

    Returns:
        The figure.
    """
    count = len(volumes)
    figure = Figure(figsize=(1.5 * count, 3.4), layout="constrained")
    axes = figure.subplots(2, count, squeeze=False)
    for row, (axis, name) in enumerate([(1, "along z"), (2, "along y")]):
        projections = volumes.sum(axis=axis)
        for column, image in enumerate(projections):
            _show(axes[row, column], image, _limits(projections))
        axes[row, 0].set_ylabel(name)
    for column in range(count):
        axes[0, column].set_title(str(column + 1), fontsize=9)
    side = volumes.shape[-1] * pixel_size
    figure.suptitle(f"Volumes across the latent space, projected (box {side:.0f} Å)", fontsize=10)
    return figure


def draw_fsc(fsc: FloatArray, pixel_size: float) -> Figure:
    """Draws a Fourier shell correlation.

    Args:
        fsc: Shells 0 .. D / 2, shape (D // 2 + 1,).
        pixel_size: Å per pixel.

    Returns:
        The figure.
    """
    frequency = np.arange(len(fsc)) / (2 * (len(fsc) - 1) * pixel_size)
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(frequency[1:], fsc[1:], color=_GREEN)
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color="black", lw=0.6, ls="--")
        axes.annotate(
            f"{threshold}", (frequency[-1], threshold), ha="right", va="bottom", fontsize=8
        )
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC with the reference", ylim=(-0.15, 1.02))
    axes.grid(alpha=0.3)
    return figure
