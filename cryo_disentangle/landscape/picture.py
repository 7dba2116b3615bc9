"""Pictures of free energies."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cryo_disentangle.landscape.landscape import Landscape, Profile

__all__ = ["draw_landscape"]

Array = npt.NDArray[Any]

# Okabe and Ito 2008: told apart with any colour vision.
_BLUE, _GREY = "#0072B2", "#999999"
_HIGHEST_KT = 6.0
# A page as wide as a phone still shows text of 9 points.
_ACROSS, _WIDTH = 2, 6.2


def draw_landscape(found: Landscape, latents: Array) -> Figure:
    """Draws free energies with their bands, and the density of the latents as they are.

    Args:
        found: Profiles.
        latents: Along the axes, shape (N, Z).

    Returns:
        The figure.
    """
    count = len(found.profiles)
    across = min(count, _ACROSS)
    down = -(-count // across)
    figure = Figure(figsize=(_WIDTH * across / _ACROSS, 0.4 + 2.6 * down), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, profile in zip(grid, found.profiles, strict=False):
        if len(profile.axes) == 1:
            _curve(axes, profile, latents[:, profile.axes[0]], found.unit)
        else:
            _plane(figure, axes, profile, found.unit)
    for axes in grid[count:]:
        axes.remove()
    taken = "uncertainty removed" if found.profiles[0].deconvolved else "errors not removed"
    figure.suptitle(f"Free energy in {found.unit} ({taken}; 95 % bands)", fontsize=10)
    return figure


def _curve(axes: Axes, profile: Profile, values: Array, unit: str) -> None:
    """Free energy along an axis, above the latents' own density."""
    grid = profile.grid[0]
    heights, edges = np.histogram(values, bins=60, range=(float(grid[0]), float(grid[-1])))
    with np.errstate(divide="ignore"):
        raw = -np.log(heights / heights.max())
    raw[~np.isfinite(raw)] = np.nan
    axes.step((edges[1:] + edges[:-1]) / 2, raw, where="mid", color=_GREY, lw=0.9, label="latents")
    axes.fill_between(grid, profile.low, profile.high, color=_BLUE, alpha=0.25, lw=0)
    axes.plot(grid, profile.free_energy, color=_BLUE, lw=1.8, label="free energy")
    basins = [] if profile.basins is None else profile.basins.basins
    for basin in basins if len(basins) > 1 else []:
        share = f"{100 * basin.population:.0f} %\n({100 * basin.low:.0f}–{100 * basin.high:.0f})"
        axes.annotate(
            share,
            (grid[basin.cell], profile.free_energy[basin.cell]),
            (0, -4),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=9,
        )
    axes.set(ylim=(-1.3, _HIGHEST_KT), xlabel=profile.name, ylabel=unit)
    axes.legend(fontsize=9, frameon=False, loc="upper center")
    axes.grid(alpha=0.3)


def _plane(figure: Figure, axes: Axes, profile: Profile, unit: str) -> None:
    """Free energy in the plane of two axes."""
    energy = np.clip(profile.free_energy.T, 0, _HIGHEST_KT)
    levels = np.arange(0, _HIGHEST_KT + 0.5, 0.5)
    shown = axes.contourf(*profile.grid, energy, levels=levels, cmap="viridis_r")
    axes.contour(*profile.grid, energy, levels=levels[::2], colors="black", linewidths=0.4)
    figure.colorbar(shown, ax=axes, label=unit)
    names = [f"axis {axis + 1}" for axis in profile.axes]
    axes.set(xlabel=names[0], ylabel=names[1])
