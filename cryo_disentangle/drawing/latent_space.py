"""Pictures of what a latent space holds, drawn without a display."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

__all__ = ["draw_correlations", "draw_drift", "draw_metrics", "draw_motions", "draw_traversals"]

# Okabe and Ito 2008: told apart with any colour vision. The yellow is too light for lines.
_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
_PANELS_ACROSS = 3
_LARGEST_TABLE = 12

_TRAINING = "training"

FloatArray = npt.NDArray[np.floating]
Curve: TypeAlias = Mapping[int, float]
"""Values of a metric by the number of epochs done."""


def draw_correlations(
    correlation: FloatArray, pairs: Sequence[tuple[int, int]], names: Sequence[str]
) -> Figure:
    """Draws how strongly each latent coordinate follows each factor.

    Args:
        correlation: Pearson correlation, shape (Z, F).
        pairs: The matching: (coordinate, factor), from 0; framed in the picture.
        names: Names of the F factors.

    Returns:
        The figure.
    """
    strength = np.abs(correlation)
    latents, factors = strength.shape
    figure = Figure(figsize=(2.8 + 0.95 * factors, 1.9 + 0.55 * latents), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(strength, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    figure.colorbar(image, ax=axes, label="|correlation|")
    axes.set_xticks(range(factors), names, rotation=20 if max(map(len, names)) > 8 else 0)
    axes.set_yticks(range(latents), [f"z{k + 1}" for k in range(latents)])
    axes.set(xlabel="true factor", ylabel="latent coordinate")
    if max(strength.shape) <= _LARGEST_TABLE:
        for (row, column), value in np.ndenumerate(strength):
            shade = "black" if value > 0.55 else "white"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=shade)
    for row, column in pairs:
        frame = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, lw=2.5, ec="#D55E00")
        axes.add_patch(frame)
    mean = sum(strength[pair] for pair in pairs) / factors
    figure.suptitle(f"Best matching, framed: mean {mean:.2f}, 1 is best", fontsize=10)
    return figure


def draw_metrics(curves: Mapping[str, Curve], groups: Mapping[str, Mapping[str, Curve]]) -> Figure:
    """Draws metrics over the epochs.

    Args:
        curves: Values by epoch, by metric; each has a panel of its own, but for ``train/NAME`` and
            ``val/NAME``, which share one.
        groups: Scores that share a panel, by its title.

    Returns:
        The figure, in rows of three panels.

    Raises:
        ValueError: If there are no curves.
    """
    panels = _stages(curves) | {
        title: dict(zip(_what_differs(list(scores)), scores.values(), strict=True))
        for title, scores in groups.items()
        if scores
    }
    if not panels:
        raise ValueError("no metric is logged yet")
    across = min(len(panels), _PANELS_ACROSS)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(0.4 + 3.5 * across, 0.4 + 2.6 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).flatten()
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        # Later lines are thinner, so that one beneath another shows.
        for k, (label, curve) in enumerate(lines.items()):
            epochs, values = zip(*sorted(curve.items()), strict=True)
            axes.plot(
                epochs,
                values,
                color=_COLOURS[k % len(_COLOURS)],
                lw=max(3.0 - 0.7 * k, 1.0),
                marker="s" if label == _TRAINING else "o",
                markersize=max(6.0 - k, 3.0),
                label=label,
            )
        if any(lines):
            axes.legend(fontsize=7, framealpha=0.6, edgecolor="none")
        axes.set_title("\n".join(textwrap.wrap(title, 38)), fontsize=9)
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


def draw_drift(
    angles_deg: FloatArray, drift: FloatArray, overall: FloatArray, posterior: float
) -> Figure:
    """Draws how far conformations move when images are rotated in their plane.

    Distances are root mean squares in units of the distance of two different particles.

    Args:
        angles_deg: Angles in degrees, shape (A,).
        drift: Of each latent coordinate, shape (A, Z); the coordinates with the largest are drawn.
        overall: Of all coordinates together, shape (A,).
        posterior: Distance that would be drawn if nothing but the posterior's width moved them.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(6.4, 3.9), layout="constrained")
    axes = figure.subplots()
    axes.axhline(1, color="black", lw=1, ls="--", label="to another particle")
    axes.axhline(posterior, color="black", lw=1, ls=":", label="within the posterior")
    if drift.shape[1] > 1:
        most = np.argsort(-drift.max(axis=0), kind="stable")[: len(_COLOURS) - 1]
        for colour, k in zip(_COLOURS, sorted(most), strict=False):
            axes.plot(angles_deg, drift[:, k], color=colour, lw=1.1, label=f"z{k + 1}")
    axes.plot(
        angles_deg, overall, color="black", lw=2.2, marker="o", markersize=4, label="all of z"
    )
    axes.set(
        xlabel="angle by which the image is rotated (°)",
        ylabel="movement of z (1: to another particle)",
        title="A rotated image shows the same molecule: z should not move",
        ylim=(0, max(1.15, 1.08 * float(max(drift.max(), overall.max())))),
    )
    axes.title.set_fontsize(10)
    axes.set_xticks(np.arange(0, 361, 60))
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid(alpha=0.3)
    return figure


def draw_traversals(
    images: FloatArray,
    values: FloatArray,
    ends: tuple[float, float],
    pixel_size: float | None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draws what changes along each latent coordinate, or along other paths.

    Args:
        images: Projections of Z coordinates at S steps each, shape (Z, S, D, D).
        values: The coordinates' values, shape (Z, S).
        ends: Percentiles of the particles that the first and the last step are at.
        pixel_size: Å per pixel for a scale bar; None draws none.
        names: What the Z paths go along; None is the coordinates z1, z2, ...

    Returns:
        The figure.
    """
    labels = names or [f"z{k + 1}" for k in range(len(images))]
    count, steps, side = images.shape[:3]
    figure = Figure(figsize=(max(4.8, 0.5 + 1.35 * steps), 0.7 + 1.5 * count), layout="constrained")
    grid = figure.subplots(count, steps, squeeze=False)
    low, high = np.percentile(images, [0.5, 99.8])
    for (row, column), axes in np.ndenumerate(grid):
        axes.imshow(images[row, column], cmap="gray", vmin=low, vmax=high, origin="lower")
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel(f"{labels[row]} = {values[row, column]:.2f}", fontsize=8, labelpad=2)
    for column, percentile in ((0, ends[0]), (-1, ends[1])):
        grid[0, column].set_title(f"{percentile:g}% of particles\nare below", fontsize=8)
    if pixel_size is not None:
        _scale_bar(grid[0, 0], side, pixel_size)
    if names is None:
        figure.suptitle("Along each latent coordinate, the others at their median", fontsize=10)
    return figure


def draw_motions(
    images: FloatArray, values: FloatArray, ends: tuple[float, float], pixel_size: float
) -> Figure:
    """Draws the motion along each named axis, and what differs from its middle.

    Args:
        images: Projections along A axes at S steps each, shape (A, S, D, D).
        values: Coordinates on the axes, shape (A, S).
        ends: Percentiles of the particles that the first and the last step are at.
        pixel_size: Å per pixel.

    Returns:
        The figure; more density than in the middle is red, less is blue.
    """
    count, steps, side = images.shape[:3]
    figure = Figure(figsize=(0.5 + 1.35 * steps, 0.9 + 3 * count), layout="constrained")
    grid = figure.subplots(2 * count, steps, squeeze=False)
    low, high = np.percentile(images, [0.5, 99.8])
    change = images - images[:, steps // 2 : steps // 2 + 1]
    most = float(np.abs(change).max()) or 1.0
    for number in range(count):
        for step in range(steps):
            above, below = grid[2 * number, step], grid[2 * number + 1, step]
            above.imshow(images[number, step], cmap="gray", vmin=low, vmax=high, origin="lower")
            below.imshow(change[number, step], cmap="RdBu_r", vmin=-most, vmax=most, origin="lower")
            below.set_xlabel(f"{values[number, step]:.2f}", fontsize=8, labelpad=2)
            for axes in (above, below):
                axes.set(xticks=[], yticks=[])
        grid[2 * number, 0].set_ylabel(f"axis {number + 1}")
        grid[2 * number + 1, 0].set_ylabel("less the middle")
    for column, percentile in ((0, ends[0]), (-1, ends[1])):
        grid[0, column].set_title(f"{percentile:g}% of particles\nare below", fontsize=8)
    _scale_bar(grid[0, 0], side, pixel_size)
    figure.suptitle("Projections along each axis, the others at their median", fontsize=10)
    return figure


def _scale_bar(axes: Axes, side: int, pixel_size: float) -> None:
    """A bar of 1, 2 or 5 times a power of ten Å, about a third of the image."""
    third = side * pixel_size / 3
    power = 10.0 ** math.floor(math.log10(third))
    length = max(step * power for step in (1, 2, 5) if step * power <= third)
    left, bottom = 0.06 * side, 0.08 * side
    axes.plot([left, left + length / pixel_size], [bottom, bottom], color="white", lw=2.5)
    axes.text(left, bottom + 0.04 * side, f"{length:g} Å", color="white", fontsize=7, va="bottom")


def _stages(curves: Mapping[str, Curve]) -> dict[str, dict[str, Curve]]:
    """A panel for each metric, with its curves of training and of held-out particles."""
    labels = {"train/": _TRAINING, "val/": "held out"}
    panels: dict[str, dict[str, Curve]] = {}
    for name, curve in sorted(curves.items()):
        stage = next((stage for stage in labels if name.startswith(stage)), "")
        panels.setdefault(name.removeprefix(stage), {})[labels.get(stage, "")] = curve
    return panels


def _what_differs(names: list[str]) -> list[str]:
    """Names of a group without the words that all of them begin or end with."""
    words = [re.split("[/_]", name) for name in names]
    if len(words) == 1:
        return [" ".join(words[0])]
    begin = _shared(words)
    end = _shared([word[begin:][::-1] for word in words])
    return [" ".join(word[begin : len(word) - end]) for word in words]


def _shared(words: list[list[str]]) -> int:
    """How many first words are the same in all lists."""
    columns = enumerate(zip(*words, strict=False))
    return next((k for k, column in columns if len(set(column)) > 1), min(map(len, words)))
