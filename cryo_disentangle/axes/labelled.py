"""Axes of latents by labels of their particles, and whether half sets agree on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from cryo_disentangle.axes.linear import LinearAxes
from cryo_disentangle.axes.temperature import TemperatureAxes
from cryo_disentangle.axes.time import TimeAxes
from cryo_disentangle.metrics.functional.codes import Array, as_tensor

__all__ = ["KnownLatents", "axes_by_temperature", "axes_by_time"]

_Axes = TypeVar("_Axes", bound=LinearAxes)


class KnownLatents(NamedTuple):
    """Latents of N particles with what is known of how good they are.

    Attributes:
        latents: Such as posterior means, shape (N, Z).
        covariance: Of each, shape (N, Z, Z), or variances (N, Z); None where unknown.
        half: Half set of each particle, 0 or 1, shape (N,); None where there are none.
        errors: Whether covariances are those of errors of estimates rather than posteriors' under a
            standard normal prior.
    """

    latents: Array
    covariance: Array | None = None
    half: Array | None = None
    errors: bool = False

    def covariance_at(self, rows: Tensor) -> Tensor | None:
        """Covariances of some particles.

        Args:
            rows: Which, shape (M,).

        Returns:
            Theirs, or None.
        """
        if self.covariance is None:
            return None
        return as_tensor(self.covariance, "covariance")[rows]


def axes_by_time(known: KnownLatents, frames: Array, interval: Array | None = None) -> TimeAxes:
    """Finds axes by time, and takes them back where half sets do not agree on them.

    Args:
        known: Latents of N particles.
        frames: Places of the earlier and the later frame of P pairs, shape (P, 2), int64.
        interval: Time between them, shape (P,); None where it is always the same.

    Returns:
        The axes.

    Raises:
        ValueError: As `TimeAxes.fit`.
    """
    z = as_tensor(known.latents, "latents")
    pairs = as_tensor(frames, "frames").to(z.device)
    time = None if interval is None else as_tensor(interval, "interval")

    def fit(some: Tensor) -> TimeAxes:
        earlier, later = pairs[some].unbind(1)
        both = known.covariance_at(earlier), known.covariance_at(later)
        spread = None if both[0] is None or both[1] is None else (both[0], both[1])
        times = None if time is None else time[some]
        return TimeAxes(errors=known.errors).fit(z[earlier], z[later], spread, times)

    everything = torch.arange(len(pairs), device=z.device)
    axes = fit(everything)
    half = None if known.half is None else as_tensor(known.half, "half").to(z.device)[pairs]
    # Of the pairs whose frames are of one half set.
    halves = None if half is None else [(half == k).all(1).nonzero()[:, 0] for k in (0, 1)]
    return _agreed(axes, fit, halves, z)


def axes_by_temperature(known: KnownLatents, temperature: Array) -> TemperatureAxes:
    """Finds axes by temperature, and takes them back where half sets do not agree on them.

    Args:
        known: Latents of N particles.
        temperature: In kelvin, shape (N,).

    Returns:
        The axes.

    Raises:
        ValueError: As `TemperatureAxes.fit`.
    """
    z = as_tensor(known.latents, "latents")
    kelvin = as_tensor(temperature, "temperature").to(z.device)

    def fit(some: Tensor) -> TemperatureAxes:
        spread = known.covariance_at(some)
        return TemperatureAxes(errors=known.errors).fit(z[some], kelvin[some], spread)

    axes = TemperatureAxes(errors=known.errors).fit(z, kelvin, known.covariance)
    half = None if known.half is None else as_tensor(known.half, "half").to(z.device)
    halves = None if half is None else [(half == k).nonzero()[:, 0] for k in (0, 1)]
    return _agreed(axes, fit, halves, z)


def _agreed(
    axes: _Axes, fit: Callable[[Tensor], _Axes], halves: list[Tensor] | None, latents: Tensor
) -> _Axes:
    """The axes, compared with those of both half sets where these have any."""
    if not axes.determined_ or halves is None or latents.shape[1] == 1:
        return axes
    try:
        parts = fit(halves[0]), fit(halves[1])
    except ValueError:
        # A half set has too few particles to say anything.
        return axes
    axes.compare_halves(parts, torch.cov(latents.double().T).cpu().numpy())
    return axes
