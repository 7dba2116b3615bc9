"""Pictures of a reconstruction, drawn without a display."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cryo_disentangle.drawing.style import (
    BLUE,
    CIRCLE,
    GREEN,
    ORANGE,
    SCALE,
    WIDTH,
    clip_lines,
    readable,
    scale_bar,
    show_image,
)

__all__ = ["draw_curves", "draw_fsc", "draw_images", "draw_latents", "draw_volumes"]

_PANELS_ACROSS = 2

FloatArray = npt.NDArray[np.floating]


def _limits(images: FloatArray) -> tuple[float, float]:
    """Grey levels that a few outliers don't flatten."""
    low, high = np.percentile(images, [0.5, 99.5])
    return float(low), float(high)


@readable
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
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(steps, training, color=BLUE, marker="o", markersize=3, label="training")
    if np.isfinite(validation).any():
        axes.plot(steps, validation, color=ORANGE, marker="s", markersize=3, label="held out")
    axes.set(xlabel=unit, ylabel="loss")
    clip_lines(axes, [np.asarray(training, float), np.asarray(validation, float)])
    axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    return figure


@readable
def draw_images(observed: FloatArray, rendered: FloatArray, pixel_size: float | None) -> Figure:
    """Draws particles, the model's images of them, and the residual.

    Args:
        observed: Centred particle images, shape (N, D, D).
        rendered: The model's noise-free images of the same particles, shape (N, D, D).
        pixel_size: Å per pixel for a scale bar; None draws none.

    Returns:
        The figure; under each column the correlation of particle and model.
    """
    count = len(observed)
    figure = Figure(figsize=(max(4.2, 0.4 + WIDTH / 6 * count), 3.9), layout="constrained")
    axes = figure.subplots(3, count, squeeze=False)
    rows = (("particle", observed), ("model", rendered), ("residual", observed - rendered))
    for row, (name, images) in enumerate(rows):
        for column, image in enumerate(images):
            # What is left is seen on the scale of what was there.
            show_image(axes[row, column], image, _limits(images if row == 1 else observed))
        axes[row, 0].set_ylabel(name)
    for column, (one, other) in enumerate(zip(observed, rendered, strict=True)):
        axes[2, column].set_xlabel(f"r = {_correlation(one, other):.2f}", fontsize=10)
    if pixel_size is not None:
        scale_bar(axes[0, 0], observed.shape[-1], pixel_size)
    figure.suptitle("Held-out particles and their reconstructions")
    return figure


def _correlation(one: FloatArray, other: FloatArray) -> float:
    """Pearson correlation of two images; 0 where one is flat."""
    first, second = (np.asarray(image, float) - image.mean() for image in (one, other))
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / norm if norm else 0.0


@readable
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
        latents: Posterior means, shape (N, Z); the two coordinates of largest variance are drawn,
            the first of them on x.
        colours: Shape (N, C).
        names: What the C columns are.
        chosen: Latents whose volumes are shown in ``volumes.png``, shape (K, Z); numbered.
        cyclic: Names of the columns that are angles in degrees, of period 360.
        title: Title of the figure.

    Returns:
        The figure, in rows of at most two panels.
    """
    across = min(len(names), _PANELS_ACROSS)
    down = -(-len(names) // across)
    figure = Figure(figsize=(max(4.2, WIDTH / 2 * across), 2.9 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    widest = np.argsort(-latents.var(axis=0), kind="stable")[:2]
    x, y = int(widest.min()), int(widest.max())
    for axes, colour, name in zip(panels, colours.T, names, strict=False):
        vertical = latents[:, y] if x != y else colour
        scale: dict[str, Any] = {"cmap": SCALE}
        if name in cyclic:
            scale = {"cmap": CIRCLE, "vmin": -180, "vmax": 180}
        points = axes.scatter(latents[:, x], vertical, c=colour, s=5, linewidths=0, **scale)
        ticks = np.arange(-180, 181, 90) if name in cyclic else None
        figure.colorbar(points, ax=axes, label=name, ticks=ticks)
        axes.locator_params(axis="x", nbins=4)
        axes.set(xlabel=f"z{x + 1}", ylabel=f"z{y + 1}" if x != y else name)
        if x != y and chosen is not None:
            _number(axes, chosen[:, [x, y]])
    for axes in panels[len(names) :]:
        axes.remove()
    if title is not None:
        figure.suptitle(title)
    if x != y and chosen is not None:
        figure.supxlabel("Numbers: the volumes in volumes.png", fontsize=10)
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


@readable
def draw_volumes(
    volumes: FloatArray, pixel_size: float, names: Sequence[str] | None = None
) -> Figure:
    """Draws each volume's projections along two axes, and how they differ from the mean.

    Args:
        volumes: Shape (K, D, D, D), axes z, y, x.
        pixel_size: Å per pixel.
        names: What the K volumes are called; None numbers them from 1.

    Returns:
        The figure; more density than in the mean is red, less is blue.
    """
    count = len(volumes)
    figure = Figure(figsize=(max(4.2, 0.4 + WIDTH / 6 * count), 5.0), layout="constrained")
    axes = figure.subplots(4, count, squeeze=False)
    for place, (axis, name) in enumerate([(1, "along z"), (2, "along y")]):
        projections = volumes.sum(axis=axis)
        change = projections - projections.mean(axis=0)
        most = float(np.abs(change).max()) or 1.0
        for column, image in enumerate(projections):
            show_image(axes[2 * place, column], image, _limits(projections))
            below = axes[2 * place + 1, column]
            below.imshow(change[column], cmap="RdBu_r", vmin=-most, vmax=most, origin="lower")
            below.set(xticks=[], yticks=[])
        axes[2 * place, 0].set_ylabel(name)
        axes[2 * place + 1, 0].set_ylabel("− mean")
    for column in range(count):
        axes[0, column].set_title(str(column + 1) if names is None else names[column])
    scale_bar(axes[0, 0], volumes.shape[-1], pixel_size)
    figure.suptitle("Volumes across the latent space, projected")
    return figure


@readable
def draw_fsc(fsc: FloatArray, pixel_size: float) -> Figure:
    """Draws a Fourier shell correlation.

    Args:
        fsc: Shells 0 .. D / 2, shape (D // 2 + 1,).
        pixel_size: Å per pixel.

    Returns:
        The figure.
    """
    frequency = np.arange(len(fsc)) / (2 * (len(fsc) - 1) * pixel_size)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(frequency[1:], fsc[1:], color=GREEN)
    for threshold in (0.5, 0.143):
        axes.axhline(threshold, color="black", lw=0.6, ls="--")
        axes.annotate(
            f"{threshold}", (frequency[-1], threshold), ha="right", va="bottom", fontsize=10
        )
    axes.set(xlabel="spatial frequency (1/Å)", ylabel="FSC with the reference", ylim=(-0.15, 1.02))
    axes.grid(alpha=0.3)
    return figure
