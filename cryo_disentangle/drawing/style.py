"""What pictures have in common: colours, sizes of text, scale bars, lines that leave the panel."""

from __future__ import annotations

import math
from collections.abc import Iterable

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.patheffects import withStroke

__all__ = [
    "BLUE",
    "CIRCLE",
    "COLOURS",
    "GOOD",
    "GREEN",
    "ORANGE",
    "SCALE",
    "WIDTH",
    "clip_lines",
    "readable",
    "scale_bar",
    "show_image",
]

FloatArray = npt.NDArray[np.floating]

# Okabe and Ito 2008: told apart with any colour vision. The yellow is too light for lines.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
BLUE, ORANGE, GREEN = COLOURS[:3]
# Behind values that are good.
GOOD = "#E0F3EE"

# Angles of a full turn: the ends are one colour, and none is lost on white.
CIRCLE: Colormap = LinearSegmentedColormap.from_list(
    "circle", ["#0072B2", "#8C4A8C", "#D55E00", "#7A7A00", "#009E73", "#0072B2"]
)
# Viridis without its end that is lost on white.
SCALE: Colormap = ListedColormap(colormaps["viridis"](np.linspace(0, 0.88, 256)))

# Inches of a whole figure: its text is still read where a phone shows it 360 points wide.
WIDTH = 6.2
_TEXT = 11.0
# Lines above so many times what most of them reach leave the panel.
_FAR = 3.0

# Tick labels are made when a figure is drawn, with matplotlib's own 10 points.
readable = matplotlib.rc_context(
    {
        "font.size": _TEXT,
        "axes.labelsize": _TEXT,
        "axes.titlesize": _TEXT,
        "figure.titlesize": _TEXT,
        "legend.fontsize": _TEXT - 1,
    }
)


def show_image(axes: Axes, image: FloatArray, limits: tuple[float, float]) -> None:
    """Shows an image in grey, row 0 at the bottom, without ticks.

    Args:
        axes: Where.
        image: Shape (D, D).
        limits: Values of black and white.
    """
    axes.imshow(image, cmap="gray", vmin=limits[0], vmax=limits[1], origin="lower")
    axes.set(xticks=[], yticks=[])


def scale_bar(axes: Axes, side: int, pixel_size: float) -> None:
    """Draws a bar of 1, 2 or 5 times a power of ten Å, about a third of the image.

    Args:
        axes: Shows the image.
        side: Its side in pixels.
        pixel_size: Å per pixel.
    """
    third = side * pixel_size / 3
    power = 10.0 ** math.floor(math.log10(third))
    length = max(step * power for step in (1, 2, 5) if step * power <= third)
    left, bottom = 0.06 * side, 0.08 * side
    # White with a black edge is seen on any background.
    edge = [withStroke(linewidth=4.5, foreground="black")]
    bar = [left, left + length / pixel_size], [bottom, bottom]
    axes.plot(*bar, color="white", lw=2.5, solid_capstyle="butt", path_effects=edge)
    axes.text(
        left,
        bottom + 0.04 * side,
        f"{length:g} Å",
        color="white",
        fontsize=9,
        va="bottom",
        path_effects=[withStroke(linewidth=2, foreground="black")],
    )


def clip_lines(axes: Axes, lines: Iterable[FloatArray], least: float | None = None) -> None:
    """Ends the vertical axis where most values end; an arrow says how far lines go beyond.

    Args:
        axes: Has the lines.
        lines: Their values, each (N,), not negative; NaN is no value.
        least: The axis ends at this or above; None leaves the end to the lines that stay within.
    """
    values = np.concatenate([np.asarray(line, float).ravel() for line in lines])
    values = values[np.isfinite(values)]
    if not values.size or values.min() < 0:
        return
    most, usual = float(values.max()), max(float(np.median(values)), least or 0.0)
    if most > _FAR * usual > 0:
        low = float(values.min())
        axes.set_ylim(low - 0.05 * min(low, _FAR * usual - low), _FAR * usual)
        axes.annotate(
            f"off scale, up to {most:.3g}",
            (0.03, 1.0),
            (0.03, 0.85),
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "->"},
            fontsize=10,
            va="center",
            bbox={"fc": "white", "ec": "none", "pad": 1},
        )
    elif least is not None:
        axes.set_ylim(top=1.08 * max(most, least))
