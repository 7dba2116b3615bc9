"""The picture of a comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from cryo_disentangle.comparison.agreement import Agreement

__all__ = ["draw_agreements"]

_PANEL = 3.6


def draw_agreements(
    agreements: Mapping[tuple[str, str], Agreement],
    correlations: Mapping[tuple[str, str], npt.NDArray[np.floating]],
    axes_of: Mapping[str, Sequence[str]],
) -> Figure:
    """Draws how the axes of each pair of runs correlate.

    Args:
        agreements: Of each pair of names.
        correlations: Absolute correlations of each pair's axes, shape (K, L).
        axes_of: Names of each run's axes.

    Returns:
        A panel a pair.
    """
    columns = min(3, len(agreements))
    rows = -(-len(agreements) // columns)
    figure = Figure((_PANEL * columns + 0.6, (_PANEL + 0.5) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    image = None
    for panel, (pair, agreement) in zip(panels, agreements.items(), strict=False):
        matrix = correlations[pair]
        image = panel.imshow(matrix, vmin=0, vmax=1, cmap="viridis")
        panel.set_xticks(range(matrix.shape[1]), axes_of[pair[1]], rotation=45, ha="right")
        panel.set_yticks(range(matrix.shape[0]), axes_of[pair[0]])
        panel.set_xlabel(pair[1])
        panel.set_ylabel(pair[0])
        if matrix.size <= 64:
            for (row, column), value in np.ndenumerate(matrix):
                colour = "black" if value > 0.6 else "white"
                panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour)
        kinds = [axis.verdict for axis in agreement.axes]
        panel.set_title(f"{kinds.count('reproduced')} of {len(kinds)} axes reproduced")
    for panel in panels[len(agreements) :]:
        panel.set_axis_off()
    if image is not None:
        figure.colorbar(image, ax=list(panels), label="|correlation|", shrink=0.8)
    return figure
