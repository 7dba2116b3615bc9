"""Pictures of states, groups of particles that are near each other in the latent space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cryo_disentangle.drawing.style import WIDTH, readable

__all__ = ["draw_state_labels", "draw_states"]

FloatArray = npt.NDArray[np.floating]
IntArray = npt.NDArray[np.int64]

_ACROSS = 3
_VIEW_BINS = (12, 6)


def _colour(state: int) -> tuple[float, float, float, float]:
    """The colour of a state; after ten they repeat."""
    red, green, blue, alpha = colormaps["tab10"](state % 10)
    return red, green, blue, alpha


@readable
def draw_states(
    points: FloatArray, labels: IntArray, places: FloatArray | None, names: Sequence[str]
) -> Figure:
    """Draws particles, coloured by state, with the number of particles in each.

    Args:
        points: Two coordinates of N particles, shape (N, 2).
        labels: State of each, from 0, shape (N,).
        places: Where the K states' volumes are, shape (K, 2); None draws none.
        names: What the two coordinates are.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained")
    axes = figure.subplots()
    counts = np.bincount(labels)
    for state, count in enumerate(counts):
        mine = points[labels == state]
        share = f"{state}: {count:,} ({100 * count / len(labels):.0f} %)"
        colour = [_colour(state)]
        axes.scatter(mine[:, 0], mine[:, 1], s=5, c=colour, linewidths=0, label=share)
        if places is not None:
            axes.annotate(
                str(state),
                (float(places[state, 0]), float(places[state, 1])),
                ha="center",
                va="center",
                bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": "black", "lw": 0.6},
            )
    axes.set(xlabel=names[0], ylabel=names[1])
    figure.legend(loc="outside right upper", title="state: particles", markerscale=3, frameon=False)
    return figure


@readable
def draw_state_labels(
    labels: IntArray, angles_deg: FloatArray | None, defocus_um: FloatArray | None
) -> Figure | None:
    """Draws from where each state is seen, and at which defocus, relative to all particles.

    Args:
        labels: State of each particle, from 0, shape (N,).
        angles_deg: Euler angles rot and tilt in degrees, shape (N, 2), or None.
        defocus_um: Mean defocus in µm, shape (N,), or None.

    Returns:
        The figure, or None where neither is known.
    """
    if angles_deg is None and defocus_um is None:
        return None
    count = int(labels.max()) + 1
    down = 0 if angles_deg is None else -(-count // _ACROSS)
    extra = int(defocus_um is not None)
    figure = Figure(figsize=(WIDTH, 1.8 * down + 2.8 * extra), layout="constrained")
    heights = [1.8] * down + [2.8] * extra
    grid = figure.add_gridspec(down + extra, _ACROSS, height_ratios=heights)
    if angles_deg is not None:
        panels = [figure.add_subplot(grid[divmod(state, _ACROSS)]) for state in range(count)]
        _draw_views(panels, labels, angles_deg)
    if defocus_um is not None:
        _draw_defocus(figure.add_subplot(grid[down, :]), labels, defocus_um)
    return figure


def _draw_views(panels: Sequence[Axes], labels: IntArray, angles_deg: FloatArray) -> None:
    """A map of viewing directions for each state, relative to that of all particles."""
    rot, height = (angles_deg[:, 0] + 180) % 360 - 180, np.cos(np.deg2rad(angles_deg[:, 1]))
    everywhere = _density(rot, height)
    for state, axes in enumerate(panels):
        mine = labels == state
        ratio = (_density(rot[mine], height[mine]) + 1e-9) / (everywhere + 1e-9)
        image = axes.imshow(
            np.where(everywhere > 0, ratio, np.nan).T,
            cmap="PuOr",
            vmin=0,
            vmax=2,
            extent=(-180, 180, -1, 1),
            origin="lower",
            aspect="auto",
        )
        axes.set(xticks=[-180, 0, 180], yticks=[])
        axes.set_title(f"views of state {state}")
        if state % _ACROSS == 0:
            axes.set_ylabel("tilt")
        if state + _ACROSS >= len(panels):
            axes.set_xlabel("rot (°)")
    panels[0].figure.colorbar(
        image, ax=list(panels), label="share / that of all", ticks=[0, 1, 2], shrink=0.8
    )


def _draw_defocus(axes: Axes, labels: IntArray, defocus_um: FloatArray) -> None:
    """A histogram of the defocus for each state."""
    low, high = np.percentile(defocus_um, (0.5, 99.5))
    # Particles of one defocus have a width, too.
    edges = np.linspace(float(low), max(float(high), float(low) + 0.1), 25)
    for state in range(int(labels.max()) + 1):
        counts, _ = np.histogram(defocus_um[labels == state], edges)
        axes.stairs(counts / max(counts.sum(), 1), edges, color=_colour(state), label=str(state))
    axes.set(xlabel="defocus (µm)", yticks=[])
    axes.legend(title="state", ncols=2, frameon=False)


def _density(rot: FloatArray, height: FloatArray) -> FloatArray:
    """Share of particles in each cell of the sphere."""
    ends = [[-180, 180], [-1, 1]]
    counts, *_ = np.histogram2d(rot, height, bins=_VIEW_BINS, range=ends)
    return np.asarray(counts / max(counts.sum(), 1))
