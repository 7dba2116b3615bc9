"""Pictures of a comparison."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from cryo_disentangle.comparison.agreement import AxisAgreement
from cryo_disentangle.comparison.pairs import ComparedPair
from cryo_disentangle.drawing.style import WIDTH

__all__ = ["draw_pair"]

_COLUMNS = 2
# Axes that are drawn each against its partner.
_MOST_AXES = 11
# A table of more numbers cannot be read.
_MOST_NUMBERS = 64
_POINTS = 20_000


def draw_pair(pair: ComparedPair) -> Figure:
    """Draws how the axes of two runs correlate, and each axis against the one it is matched to.

    Args:
        pair: Two runs.

    Returns:
        The matrix of absolute correlations, matches framed, and a panel for each axis.
    """
    axes = pair.agreement.axes[:_MOST_AXES]
    rows = -(-(1 + len(axes)) // _COLUMNS)
    size = (WIDTH, WIDTH / _COLUMNS * rows)
    figure = Figure(size, layout="constrained")
    panels = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    _draw_matrix(figure, panels[0], pair)
    for panel, (k, axis) in zip(panels[1:], enumerate(axes), strict=False):
        _draw_axis(panel, pair, k, axis)
    for panel in panels[1 + len(axes) :]:
        panel.set_axis_off()
    return figure


def _draw_matrix(figure: Figure, panel: Axes, pair: ComparedPair) -> None:
    """Absolute correlations, the matches framed."""
    matrix = np.abs(pair.correlation)
    image = panel.imshow(matrix, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    figure.colorbar(image, ax=panel, shrink=0.8)
    first, second = pair.coordinates
    panel.set_xticks(range(len(second)), second, rotation=45 if max(map(len, second)) > 4 else 0)
    panel.set_yticks(range(len(first)), first)
    panel.set_xlabel(pair.names[1])
    panel.set_ylabel(pair.names[0])
    panel.set_title("|correlation|, matches framed", fontsize=10)
    for row, axis in enumerate(pair.agreement.axes):
        if axis.partner is not None:
            place = (second.index(axis.partner) - 0.47, row - 0.47)
            panel.add_patch(_frame(place))
    if matrix.size <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            colour = "black" if value > 0.55 else "white"
            panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)


def _frame(place: tuple[float, float]) -> Rectangle:
    """A frame round a cell."""
    return Rectangle(place, 0.94, 0.94, fill=False, linewidth=2, edgecolor="#D55E00")


def _draw_axis(panel: Axes, pair: ComparedPair, number: int, axis: AxisAgreement) -> None:
    """Particles along an axis and along its partner."""
    chance = f"\nby chance {axis.chance}" if axis.chance else ""
    panel.set_title(f"{axis.axis}: {axis.verdict}\n{axis.angle}{chance}", fontsize=10)
    panel.set_xlabel(f"{axis.axis} of {pair.names[0]}")
    if axis.partner is None:
        panel.text(0.5, 0.5, "no axis is left", ha="center", transform=panel.transAxes)
        panel.set_xticks([])
        panel.set_yticks([])
        return
    step = -(-len(pair.first) // _POINTS)
    x = pair.first[::step, number]
    y = pair.second[::step, pair.coordinates[1].index(axis.partner)]
    panel.hexbin(x, y, gridsize=45, mincnt=1, bins="log", cmap="viridis", linewidths=0)
    panel.set_ylabel(f"{axis.partner} of {pair.names[1]}")
