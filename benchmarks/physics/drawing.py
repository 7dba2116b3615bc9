"""The picture of docs/assumptions.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from cryo_disentangle.physics.collective import HINGES, hinge_angles
from cryo_disentangle.physics.residues import load_residues

__all__ = ["draw"]

_COLOURS = ("#0072B2", "#E69F00")  # Okabe and Ito 2008
Array = npt.NDArray[np.floating]
Rows = Sequence[Mapping[str, object]]


def numbers(rows: Rows, name: str) -> Array:
    """A column."""
    return np.array([float(str(row[name])) for row in rows])


def _both_hinges(axis: Axes, angles: Array) -> None:
    """Frames of one temperature, and the two structures."""
    residues = load_residues()
    shown = np.histogram2d(angles[:, 0], angles[:, 1], bins=60)
    free = -np.log(np.maximum(shown[0].T, 0.5) / shown[0].max())
    image = axis.pcolormesh(shown[1], shown[2], free, cmap="viridis", rasterized=True)
    axis.figure.colorbar(image, ax=axis, label="free energy (kT)")
    ends = hinge_angles(np.stack([residues.open, residues.closed]))
    for name, end in zip(("4AKE", "1AKE"), ends, strict=True):
        axis.plot(*end, "wo", markeredgecolor="black")
        outline = [withStroke(linewidth=2.5, foreground="white")]
        axis.annotate(name, tuple(end), (5, 5), textcoords="offset points", path_effects=outline)
    axis.set(xlabel="NMP angle (°)", ylabel="LID angle (°)", title="frames at 300 K")


def _steps(axis: Axes, rows: Rows) -> None:
    """How sparse steps are at each lag, and which lags name the axes."""
    lag = numbers(rows, "lag_ps")
    for name, colour in zip(HINGES, _COLOURS, strict=True):
        axis.semilogx(lag, numbers(rows, f"kurtosis_{name}"), "o-", color=colour, label=name)
    named = np.array([str(row["determined"]) == "True" for row in rows])
    if named.any():
        low, high = lag[named].min(), lag[named].max()
        axis.axvspan(low, high, color="0.9", zorder=0, label="axes by time: determined")
    axis.axhline(3, color="0.5", ls=":", label="Laplace")
    axis.axhline(0, color="0.5", ls="--", label="normal")
    axis.set(xlabel="lag (ps)", ylabel="excess kurtosis", title="steps at 300 K")
    axis.legend(fontsize=7)


def _memory(axis: Axes, angles: Array, interval_ps: float) -> None:
    """Autocorrelation of each hinge."""
    lags = np.unique(np.geomspace(1, 500, 40).astype(int))
    for k, (name, colour) in enumerate(zip(HINGES, _COLOURS, strict=True)):
        centred = angles[:, k] - angles[:, k].mean()
        found = [np.mean(centred[lag:] * centred[:-lag]) / centred.var() for lag in lags]
        axis.semilogx(lags * interval_ps, found, color=colour, label=name)
    axis.axhline(0, color="0.5", ls="--")
    axis.set(xlabel="lag (ps)", ylabel="autocorrelation", title="memory at 300 K")
    axis.legend(fontsize=7)


def _heat(axis: Axes, rows: Rows) -> None:
    """Spreads over those of the coldest temperature, and what a harmonic well does."""
    kelvin = numbers(rows, "kelvin")
    for name, colour in zip(HINGES, _COLOURS, strict=True):
        spread = numbers(rows, f"spread_{name}")
        axis.plot(kelvin, spread / spread[0], "o-", color=colour, label=name)
    axis.plot(kelvin, np.sqrt(kelvin / kelvin[0]), color="0.5", ls=":", label="harmonic")
    axis.set(xlabel="temperature (K)", ylabel="spread / spread at 270 K", title="spread")
    axis.legend(fontsize=7)


def draw(file: Path, angles: Array, interval_ps: float, steps: Rows, temperatures: Rows) -> None:
    """Draws four panels.

    Args:
        file: PNG to write.
        angles: Hinge angles of a run, shape (N, 2).
        interval_ps: Time between its frames.
        steps: Rows of the table of steps.
        temperatures: Rows of the table of temperatures.
    """
    figure = Figure(figsize=(8.4, 6.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    _both_hinges(axes[0, 0], angles)
    _steps(axes[0, 1], steps)
    _memory(axes[1, 0], angles, interval_ps)
    _heat(axes[1, 1], temperatures)
    figure.savefig(file, dpi=110, facecolor="white")
