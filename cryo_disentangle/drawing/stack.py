"""A picture of a particle stack as it lies in files, drawn without a display."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase

from cryo_disentangle.drawing.style import BLUE, SCALE, WIDTH, readable, scale_bar, show_image

__all__ = ["draw_stack"]

FloatArray = npt.NDArray[np.floating]

_BINS = (24, 12)


@readable
def draw_stack(
    images: FloatArray,
    mean: FloatArray,
    pixel_size: float,
    angles_deg: FloatArray | None,
    defocus_um: FloatArray | None,
) -> Figure:
    """Draws a few particles, the mean image, viewing directions and defocus.

    Args:
        images: A few particles as stored, shape (P, D, D).
        mean: Mean of many, shape (D, D).
        pixel_size: Å per pixel.
        angles_deg: First two Euler angles (rot, tilt) in degrees, shape (N, 2); None where no
            poses are known.
        defocus_um: Mean defocus in µm, shape (N,); None where no CTF is known.

    Returns:
        The figure.
    """
    below = [values is not None for values in (angles_deg, defocus_um)]
    figure = Figure(figsize=(WIDTH, 1.9 + 2.9 * any(below)), layout="constrained")
    top: FigureBase = figure
    bottom: FigureBase | None = None
    if any(below):
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=[1.6, 2.9])
        top, bottom = parts[:, 0]
    shown = [*images, mean]
    panels = top.subplots(1, len(shown), squeeze=False)[0]
    for axes, image in zip(panels, shown, strict=True):
        low, high = np.percentile(image, [0.5, 99.5])
        show_image(axes, image, (float(low), float(high)))
    panels[0].set_title("particles")
    panels[-1].set_title("mean")
    scale_bar(panels[0], mean.shape[-1], pixel_size)
    if bottom is not None:
        places = iter(bottom.subplots(1, sum(below), squeeze=False)[0])
        if angles_deg is not None:
            _draw_views(next(places), angles_deg)
        if defocus_um is not None:
            axes = next(places)
            axes.hist(defocus_um, 40, color=BLUE)
            axes.set(xlabel="defocus (µm)", yticks=[])
            axes.set_title("defocus")
    return figure


def _draw_views(axes: Axes, angles_deg: FloatArray) -> None:
    """Directions of view on a map that keeps areas: even views are of one colour."""
    rot, height = angles_deg[:, 0], np.cos(np.deg2rad(angles_deg[:, 1]))
    ends = [[-180, 180], [-1, 1]]
    counts, *_ = np.histogram2d((rot + 180) % 360 - 180, height, bins=_BINS, range=ends)
    even = len(rot) / counts.size
    image = axes.imshow(
        counts.T / even,
        cmap=SCALE,
        vmin=0,
        vmax=max(2.0, float(np.percentile(counts, 99)) / even),
        extent=(-180, 180, -1, 1),
        origin="lower",
        aspect="auto",
    )
    axes.figure.colorbar(image, ax=axes, label="density (even: 1)")
    axes.set_xticks([-180, 0, 180])
    axes.set_yticks([-1, 0, 1], ["180°", "90°", "0°"])
    axes.set(xlabel="rot (°)", ylabel="tilt")
    axes.set_title("viewing directions")
