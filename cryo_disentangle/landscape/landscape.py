"""Free energy of latents along named axes and in their plane, with populations and intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cryo_disentangle.landscape.basins import Basins, find_basins, find_valleys
from cryo_disentangle.landscape.density import LatentDensity, fit_density
from cryo_disentangle.landscape.likelihood import LatentLikelihood, latent_likelihood

__all__ = ["Landscape", "LatentNoise", "Profile", "find_landscape", "temperature_groups"]

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float64]

_POINTS = {1: 200, 2: 60}
_BAND = (0.025, 0.975)
_MOST_AXES = 4
# Temperatures of their own landscape; more are no levels but a continuum.
_MOST_TEMPERATURES = 6
_FINEST_OF_PLANE = 0.28
# Where less than this share of the largest density is, a free energy has no meaning.
_LEAST = 2.5e-3


@dataclass(frozen=True, eq=False)
class LatentNoise:
    """Uncertainty of latents.

    Args:
        covariance: Of each particle's latents, shape (N, Z, Z).
        prior: Mean (Z,) and covariance (Z, Z) of the normal prior that posteriors contain; None
            where covariances are those of errors of estimates.
    """

    covariance: Array
    prior: tuple[Array, Array] | None


class Profile(NamedTuple):
    """Density and free energy along one axis, or in the plane of two.

    Attributes:
        axes: Numbers of the axes, from 0.
        grid: Values along each axis, as many arrays of shape (P,) as axes.
        density: On the grid, shape (P,) or (P, P), indexed as the axes.
        free_energy: -log of the density above its minimum, in kT, shape of ``density``; NaN where
            hardly a particle is.
        low: Lower end of its 95 % interval, shape of ``density``.
        high: Upper end, shape of ``density``.
        basins: Where particles gather; None of a plane.
        width: Smoothness: standard deviation of the distributions that make up the density, along
            each axis, shape (1,) or (2,).
        particles: Number of particles it was fitted to.
        deconvolved: Whether the particles' uncertainty was taken off.
    """

    axes: tuple[int, ...]
    grid: tuple[FloatArray, ...]
    density: FloatArray
    free_energy: FloatArray
    low: FloatArray
    high: FloatArray
    basins: Basins | None
    width: FloatArray
    particles: int
    deconvolved: bool

    @property
    def name(self) -> str:
        """Of its axes."""
        return " and ".join(f"axis {axis + 1}" for axis in self.axes)

    @property
    def words(self) -> str:
        """Basins with their populations and intervals, in a sentence."""
        found = self.basins
        if found is None:
            return ""
        places = [f"{self.grid[0][basin.cell]:.2f}" for basin in found.basins]
        if len(places) == 1:
            return f"{self.name}: one basin, deepest at {places[0]}."
        shares = ", ".join(
            f"population {100 * basin.population:.0f} % ({100 * basin.low:.0f} to "
            f"{100 * basin.high:.0f} %) at {place}"
            for basin, place in zip(found.basins, places, strict=True)
        )
        barriers = ", ".join(
            f"{one.height:.1f} kT ({one.low:.1f} to {one.high:.1f})" for one in found.barriers
        )
        return f"{self.name}: {len(places)} basins, {shares}; between them {barriers}."


class Landscape(NamedTuple):
    """Profiles of the first axes, and of the plane of the first two.

    Attributes:
        profiles: Along one axis each, then, if there are two, in their plane.
        kelvin: Temperature of the particles, or None.
    """

    profiles: list[Profile]
    kelvin: float | None = None

    @property
    def unit(self) -> str:
        """Unit of the free energies, in words."""
        if self.kelvin is None:
            return "kT of the ensemble imaged"
        return f"kT at {self.kelvin:g} K"

    @property
    def words(self) -> str:
        """What was found, in sentences."""
        first = self.profiles[0]
        taken = "the particles' uncertainty removed"
        if not first.deconvolved:
            taken = (
                "the latents have no uncertainties, so their errors blur it and "
                "are not in the intervals"
            )
        whose = "" if self.kelvin is None else f" at {self.kelvin:g} K"
        begin = f"Landscape of {first.particles:,} particles{whose} ({taken}; 95 % intervals)."
        return " ".join([begin, *(one.words for one in self.profiles if one.basins is not None)])

    def arrays(self) -> dict[str, Array]:
        """Collects what a file keeps: ``axis1_value``, ``axis1_density`` and so on, ``plane_...``.

        Returns:
            Arrays by name.
        """
        found: dict[str, Array] = {}
        for profile in self.profiles:
            one = len(profile.axes) == 1
            name = f"axis{profile.axes[0] + 1}" if one else "plane"
            for value, axis in zip(profile.grid, profile.axes, strict=True):
                found[f"{name}_value" if one else f"{name}_axis{axis + 1}"] = value
            for part in ("density", "free_energy", "low", "high"):
                known = part if part in ("density", "free_energy") else f"free_energy_{part}"
                found[f"{name}_{known}"] = getattr(profile, part)
            if profile.basins is not None:
                basins, barriers = profile.basins
                found[f"{name}_population"] = np.array([basin[1:] for basin in basins])
                cells = [barrier.cell for barrier in barriers]
                found[f"{name}_barrier"] = profile.grid[0][np.array(cells, dtype=np.int64)]
        if self.kelvin is not None:
            found["kelvin"] = np.asarray(self.kelvin)
        return found


def find_landscape(
    latents: Array, noise: LatentNoise | None = None, kelvin: float | None = None, seed: int = 0
) -> Landscape:
    """Finds the free energy of latents along each of the first axes and in the plane of two.

    A free energy is -log of the density of the axis' own coordinate, so that a nonlinear change of
    the coordinate changes it. It is that of the particles that were imaged, picked and kept.

    Args:
        latents: Along named axes, shape (N, Z).
        noise: Their uncertainty; None takes them as exact.
        kelvin: Temperature of the particles, where it is known and the same for all.
        seed: Of resamples.

    Returns:
        The landscape.

    Raises:
        ValueError: If there are fewer than 50 particles, or latents' uncertainty makes no sense.

    References:
        Gilles and Singer 2025 (RECOVAR): energy as -log of the density in units of kT.
    """
    count = min(latents.shape[1], _MOST_AXES)
    found = [fit_density(_likelihood(latents, noise, (axis,)), seed) for axis in range(count)]
    profiles = [_profile(density, (axis,), seed) for axis, density in enumerate(found)]
    if count > 1:
        # What is smooth enough for either axis is so for both; a plane has fewer particles a place.
        share = max(_FINEST_OF_PLANE, *(density.share for density in found[:2]))
        plane = fit_density(_likelihood(latents, noise, (0, 1)), seed, share)
        profiles.append(_profile(plane, (0, 1), seed))
    return Landscape(profiles, kelvin)


def temperature_groups(kelvin: Array | None, count: int) -> list[tuple[float | None, Array]]:
    """Groups particles that have a landscape of their own.

    Args:
        kelvin: Temperature of each particle, shape (N,), or of all, shape (); None where it is not
            known.
        count: Number of particles N.

    Returns:
        Temperature and rows of each group; one group without a temperature where there are none, or
        too many to be levels.
    """
    everybody = np.arange(count)
    levels = np.zeros(0) if kelvin is None else np.unique(kelvin)
    if not 1 <= len(levels) <= _MOST_TEMPERATURES:
        return [(None, everybody)]
    return [(float(t), everybody[np.broadcast_to(kelvin == t, count)]) for t in levels]


def _likelihood(latents: Array, noise: LatentNoise | None, axes: Sequence[int]) -> LatentLikelihood:
    """What particles tell of some of the coordinates."""
    chosen = list(axes)
    if noise is None:
        return latent_likelihood(latents[:, chosen], None)
    prior = None
    if noise.prior is not None:
        centre, wide = noise.prior
        prior = (centre[chosen], wide[np.ix_(chosen, chosen)])
    spread = noise.covariance[:, chosen][:, :, chosen]
    return latent_likelihood(latents[:, chosen], spread, prior)


def _profile(found: LatentDensity, axes: tuple[int, ...], seed: int) -> Profile:
    """Density, free energy and basins on a grid."""
    count = _POINTS[len(axes)]
    grid = tuple(
        np.linspace(axis.min() - 2 * width, axis.max() + 2 * width, count)
        for axis, width in zip(found.nodes.T, found.width, strict=True)
    )
    points = np.stack(np.meshgrid(*grid, indexing="ij"), axis=-1)
    kernel, shape = found.kernel(points.reshape(-1, len(axes))), points.shape[:-1]
    density = (kernel @ found.mass).reshape(shape)
    resampled = (found.resampled(seed) @ kernel.T).reshape(-1, *shape)
    tiny = np.finfo(np.float64).tiny
    # Above the deepest point of the best estimate, for the resamples too.
    deepest = int(density.argmax())
    energy = -np.log(density + tiny) + np.log(density.flat[deepest])
    reference = resampled.reshape(len(resampled), -1)[:, deepest].reshape(-1, *[1] * len(axes))
    many = -np.log(resampled + tiny) + np.log(reference)
    low, high = np.quantile(many, _BAND, axis=0)
    seen = density > _LEAST * density.max()
    energy, low, high = (np.where(seen, part, np.nan) for part in (energy, low, high))
    basins = None
    if len(axes) == 1:
        basins = find_basins(density, resampled, find_valleys(found, grid[0]))
    return Profile(
        axes,
        grid,
        density,
        energy,
        low,
        high,
        basins,
        found.width,
        len(found.likelihood),
        found.likelihood.precision is not None,
    )
