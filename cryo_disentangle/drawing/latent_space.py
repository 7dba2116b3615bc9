"""Pictures of what a latent space holds, drawn without a display."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cryo_disentangle.drawing.style import (
    COLOURS,
    GOOD,
    WIDTH,
    clip_lines,
    readable,
    scale_bar,
    show_image,
)

__all__ = ["draw_correlations", "draw_drift", "draw_metrics", "draw_motions", "draw_traversals"]

_PANELS_ACROSS = 2
_LARGEST_TABLE = 12

_TRAINING = "training"

FloatArray = npt.NDArray[np.floating]
Curve: TypeAlias = Mapping[int, float]
"""Values of a metric by the number of epochs done."""


@readable
def draw_correlations(
    correlation: FloatArray,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    chance: float | None = None,
) -> Figure:
    """Draws how strongly each latent coordinate follows each factor.

    Args:
        correlation: Pearson correlation, shape (Z, F).
        pairs: The matching: (coordinate, factor), from 0; framed in the picture.
        names: Names of the F factors.
        chance: Mean of the best matching of unrelated factors, for the title.

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
    unrelated = "" if chance is None else f", chance {chance:.2f}"
    figure.suptitle(f"Best matching, framed: mean\n{mean:.2f} (best 1{unrelated})")
    return figure


@readable
def draw_metrics(
    curves: Mapping[str, Curve],
    groups: Mapping[str, Mapping[str, Curve]],
    chance: Mapping[str, float] | None = None,
) -> Figure:
    """Draws metrics over the epochs.

    Args:
        curves: Values by epoch, by metric; each has a panel of its own, but for ``train/NAME`` and
            ``val/NAME``, which share one.
        groups: Scores that share a panel, by its title.
        chance: What chance scores, by title of a panel.

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
    figure = Figure(figsize=(max(4.2, WIDTH / 2 * across), 2.6 * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False).flatten()
    for axes, (title, lines) in zip(grid, panels.items(), strict=False):
        # Later lines are thinner, so that one beneath another shows.
        for k, (label, curve) in enumerate(lines.items()):
            epochs, values = zip(*sorted(curve.items()), strict=True)
            axes.plot(
                epochs,
                values,
                color=COLOURS[k % len(COLOURS)],
                lw=max(3.0 - 0.7 * k, 1.0),
                marker="s" if label == _TRAINING else "o",
                markersize=max(6.0 - k, 3.0),
                label=label,
            )
        if title in (chance or {}):
            axes.axhline((chance or {})[title], color="black", lw=1, ls="--", label="chance")
        if any(lines):
            axes.legend(fontsize=8, framealpha=0.6, edgecolor="none")
        axes.set_title("\n".join(textwrap.wrap(title, 28)), fontsize=10)
        axes.set(xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.remove()
    return figure


@readable
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
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.axhspan(0, min(posterior, 1), color=GOOD, lw=0)
    axes.axhline(1, color="black", lw=1, ls="--", label="chance: another particle")
    axes.axhline(posterior, color="black", lw=1, ls=":", label="good: within the posterior")
    if drift.shape[1] > 1:
        most = np.argsort(-drift.max(axis=0), kind="stable")[: len(COLOURS) - 1]
        for colour, k in zip(COLOURS, sorted(most), strict=False):
            axes.plot(angles_deg, drift[:, k], color=colour, lw=1.1, label=f"z{k + 1}")
    axes.plot(
        angles_deg, overall, color="black", lw=2.2, marker="o", markersize=4, label="all of z"
    )
    axes.set(
        xlabel="angle by which the image is rotated (°)",
        ylabel="movement of z",
        title="A rotated image shows the same molecule: z should stay",
        ylim=(0, 1),
    )
    clip_lines(axes, [*drift.T, overall], least=1.06)
    axes.set_xticks(np.arange(0, 361, 60))
    figure.legend(frameon=False, loc="outside lower center", ncols=2)
    axes.grid(alpha=0.3)
    return figure


@readable
def draw_traversals(
    images: FloatArray,
    values: FloatArray,
    ends: tuple[float, float],
    pixel_size: float | None,
    names: Sequence[str] | None = None,
) -> Figure:
    """Draws what changes along each latent coordinate, or along other paths.

    Below each row is what differs from its middle: more density is red, less is blue.

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
    figure = _draw_steps(images, values, ends, labels)
    if pixel_size is not None:
        scale_bar(figure.axes[0], images.shape[2], pixel_size)
    if names is None:
        figure.suptitle("Along each latent coordinate, the others at their median")
    return figure


@readable
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
    labels = [f"axis {number}" for number in range(1, len(images) + 1)]
    figure = _draw_steps(images, values, ends, labels)
    scale_bar(figure.axes[0], images.shape[2], pixel_size)
    figure.suptitle("Projections along each axis, the others at their median")
    return figure


def _draw_steps(
    images: FloatArray, values: FloatArray, ends: tuple[float, float], labels: Sequence[str]
) -> Figure:
    """Rows of projections (A, S, D, D), and what differs from the middle of each."""
    count, steps = images.shape[:2]
    side = WIDTH / max(steps, 4)
    figure = Figure(figsize=(WIDTH + 0.4, 0.9 + count * (2 * side + 0.3)), layout="constrained")
    grid = figure.subplots(2 * count, steps, squeeze=False)
    low, high = np.percentile(images, [0.5, 99.8])
    change = images - images[:, steps // 2 : steps // 2 + 1]
    most = float(np.abs(change).max()) or 1.0
    for number in range(count):
        for step in range(steps):
            above, below = grid[2 * number, step], grid[2 * number + 1, step]
            show_image(above, images[number, step], (low, high))
            below.imshow(change[number, step], cmap="RdBu_r", vmin=-most, vmax=most, origin="lower")
            below.set(xticks=[], yticks=[])
            below.set_xlabel(f"{values[number, step]:.2f}", fontsize=10, labelpad=2)
        grid[2 * number, 0].set_ylabel(labels[number])
        grid[2 * number + 1, 0].set_ylabel("− middle")
    for column, percentile in ((0, ends[0]), (-1, ends[1])):
        grid[0, column].set_title(f"{percentile:g}%\nbelow", fontsize=10)
    return figure


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
