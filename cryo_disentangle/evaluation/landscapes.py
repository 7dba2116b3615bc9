"""How many particles are where along the principal axes of z, at each temperature."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.files.paths import replacing
from cryo_disentangle.judgement.inferred import InferredParticles
from cryo_disentangle.judgement.particle_scores import evenly
from cryo_disentangle.judgement.scores import Measurement
from cryo_disentangle.landscape.landscape import (
    Landscape,
    LatentNoise,
    find_landscape,
    temperature_groups,
)
from cryo_disentangle.landscape.picture import draw_landscape

__all__ = ["DrawnLandscape", "PrincipalLandscapes", "find_landscapes"]

Array = npt.NDArray[Any]

_MOST_PARTICLES, _MOST_AXES = 10_000, 4
# Principal axes of a smaller share of the largest variance are rounding errors.
_LEAST_VARIANCE = 1e-9


@dataclass(frozen=True, eq=False)
class DrawnLandscape:
    """A landscape and the latents that its picture shows.

    Attributes:
        found: The landscape.
        latents: Of its particles along the axes, shape (N, Z).
    """

    found: Landscape
    latents: Array

    @property
    def name(self) -> str:
        """Of its files, without suffix."""
        kelvin = self.found.kelvin
        return "landscape" if kelvin is None else f"landscape_{kelvin:g}K"

    def write(self, folder: Path) -> None:
        """Writes arrays, ``landscape.npz``, and a picture, ``landscape.png``.

        Args:
            folder: Where to; it must be there.

        Raises:
            OSError: If a file can't be written.
        """
        with replacing(folder / f"{self.name}.npz") as temporary, temporary.open("wb") as file:
            np.savez(file, **self.found.arrays())  # type: ignore[arg-type]
        figure = draw_landscape(self.found, self.latents)
        with replacing(folder / f"{self.name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)


class PrincipalLandscapes(NamedTuple):
    """Landscapes along the principal axes of z.

    Attributes:
        drawn: One, or one for each temperature.
    """

    drawn: list[DrawnLandscape]

    def write(self, folder: Path) -> None:
        """Writes arrays and pictures; those of earlier calls are removed.

        Args:
            folder: Where to; it must be there.

        Raises:
            OSError: If a file can't be written.
        """
        for path in (*folder.glob("landscape*.npz"), *folder.glob("landscape*.png")):
            path.unlink()
        for one in self.drawn:
            one.write(folder)

    def entries(self) -> list[dict[str, str]]:
        """Names of the files and what was found, for ``metrics.json``."""
        return [{"name": one.name, "words": one.found.words} for one in self.drawn]


def find_landscapes(
    rows: InferredParticles,
    measured: Measurement,
    *,
    errors: bool = False,
    kelvin: float | None = None,
) -> PrincipalLandscapes:
    """Finds densities and free energies along the principal axes of z, uncertainty removed.

    Args:
        rows: All particles; labels may have their ``temperature``.
        measured: Gets the reason where there is no landscape.
        errors: Whether uncertainties are errors of estimates, not posteriors under a standard
            normal prior.
        kelvin: Temperature of all particles.

    Returns:
        A landscape for each temperature; none where there can be none.

    Raises:
        ValueError: If ``kelvin`` is not positive, or the particles have temperatures of their own.
    """
    labels = rows.labels.get("temperature")
    if kelvin is not None and not kelvin > 0:
        raise ValueError(f"kelvin: a positive temperature expected, found {kelvin:g}")
    if kelvin is not None and labels is not None:
        raise ValueError("particles have temperatures, so --kelvin is not needed: leave it out")
    known = None if labels is None else labels.numpy()
    if kelvin is not None:
        known = np.asarray(kelvin)
    mean = rows.mean.double().numpy()
    axes = _principal_axes(mean)
    drawn = []
    for level, group in temperature_groups(known, len(mean)):
        some = group[evenly(len(group), _MOST_PARTICLES)]
        along = (mean[some] - mean.mean(0)) @ axes
        noise = _noise(rows.take(some), axes, mean.mean(0), errors=errors)
        try:
            found = find_landscape(along, noise, level)
        except ValueError as error:
            measured.missing["landscape"] = str(error)
            continue
        drawn.append(DrawnLandscape(found, along))
    return PrincipalLandscapes(drawn)


def _principal_axes(latents: Array) -> Array:
    """Directions of the largest variances, shape (Z, K); each has its largest entry positive."""
    variance, vectors = np.linalg.eigh(np.atleast_2d(np.cov(latents.T)))
    order = np.argsort(-variance)[:_MOST_AXES]
    kept = order[variance[order] > _LEAST_VARIANCE * max(float(variance.max()), 1e-300)]
    axes = vectors[:, kept if len(kept) else order[:1]]
    largest = np.abs(axes).argmax(0)
    return np.asarray(axes * np.sign(axes[largest, np.arange(axes.shape[1])]))


def _noise(
    rows: InferredParticles, axes: Array, centre: Array, *, errors: bool
) -> LatentNoise | None:
    """Uncertainty along the axes; posteriors contain a standard normal prior of z."""
    widths = _covariance(rows)
    if widths is None:
        return None
    prior = None if errors else (-centre @ axes, np.eye(axes.shape[1]))
    return LatentNoise(axes.T @ widths @ axes, prior)


def _covariance(rows: InferredParticles) -> Array | None:
    """Covariances, shape (N, Z, Z), or None of latents that are taken as exact."""
    if rows.covariance is not None:
        return rows.covariance.double().numpy()
    if rows.log_variance is None:
        return None
    variance = rows.log_variance.double().exp().numpy()
    if not (variance > 0).all():
        return None
    return np.asarray(variance[:, :, None] * np.eye(variance.shape[1]))
