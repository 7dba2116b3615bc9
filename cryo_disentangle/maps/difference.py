"""Where two maps differ by more than their noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.stats import t as student
from torch import Tensor

from cryo_disentangle.maps.half_maps import DensityMaps, envelope, soft_sphere

__all__ = ["MapDifference", "compare_maps"]

FloatArray = npt.NDArray[np.float32]

_THRESHOLD, _FEWEST_SHELLS = 0.143, 4
# One false alarm in so many maps.
_LEVEL = 0.01
# Noise is averaged over a normal window whose standard deviation is half the resolution, and at
# least a pixel.
_WINDOW, _LEAST_WINDOW_PX = 0.5, 1.0


class MapDifference(NamedTuple):
    """The local difference of two maps, both filtered alike.

    Attributes:
        low: First map, shape (D, D, D), axes z, y, x.
        high: Second map, shape (D, D, D).
        difference: Second less first, shape (D, D, D).
        significance: Difference over the standard deviation of its noise, shape (D, D, D); 0 out of
            the sphere.
        peak: Largest size of it.
        place: Voxel of the peak, (z, y, x).
        limit: What noise alone exceeds once in a hundred maps (Student's t, Bonferroni over
            voxels), or the largest of two maps of noise, whichever is more.
    """

    low: FloatArray
    high: FloatArray
    difference: FloatArray
    significance: FloatArray
    peak: float
    place: tuple[int, int, int]
    limit: float

    @property
    def significant(self) -> bool:
        """Whether the maps differ by more than noise."""
        return self.peak > self.limit


def compare_maps(low: DensityMaps, high: DensityMaps, resolution_px: float) -> MapDifference:
    """Measures where two maps differ.

    Both are filtered by the weaker of their Fourier shell correlations, so that no difference is
    one of filters. The noise of the difference is that of the half maps, averaged locally: halves
    of the same particles differ by noise, wrong poses and the motions that an end still has.

    Args:
        low: Maps of one set of particles.
        high: Maps of another.
        resolution_px: Resolution of the worse in pixels, over which noise is averaged.

    Returns:
        The difference.

    References:
        Rosenthal and Henderson 2003, for the filter.
    """
    weights = _filter(low.correlation, high.correlation)
    first, second, noise_low, noise_high = (
        _filtered(part, weights).numpy() for part in (low.full, high.full, low.noise, high.noise)
    )
    window = max(_LEAST_WINDOW_PX, _WINDOW * resolution_px)
    side = first.shape[-1]
    # Noise rises towards the rim as splines fall, so that it is averaged without that.
    fall = envelope(side).numpy()
    power = ndimage.gaussian_filter((noise_low**2 + noise_high**2) * fall**2, window, mode="wrap")
    inside = soft_sphere(side).numpy() > 0.5
    scale = np.where(inside, fall / np.sqrt(np.maximum(power, np.finfo(np.float32).tiny)), 0)
    difference = second - first
    significance = (difference * scale).astype(np.float32)
    place = np.unravel_index(int(np.abs(significance).argmax()), significance.shape)
    chance = max(
        float(np.abs(noise * scale).max())
        for noise in (noise_high - noise_low, noise_high + noise_low)
    )
    freedom = _freedom(noise_low * fall, noise_high * fall, window)
    limit = max(chance, float(student.isf(_LEVEL / 2 / inside.sum(), freedom)))
    return MapDifference(
        first,
        second,
        difference,
        significance,
        float(abs(significance[place])),
        (int(place[0]), int(place[1]), int(place[2])),
        limit,
    )


def _freedom(first: FloatArray, second: FloatArray, window: float) -> float:
    """Independent numbers of two maps of noise within the window: 88 of white noise and a pixel.

    A window's mean square of normal noise has variance 2 Σ w ρ², with the correlations w of the
    window and ρ of the noise.
    """
    side = first.shape[-1]
    spectrum = sum(np.abs(np.fft.fftn(noise)) ** 2 for noise in (first, second))
    correlation = np.fft.ifftn(spectrum).real
    correlation /= max(float(correlation[0, 0, 0]), np.finfo(np.float64).tiny)
    axis = (2 * np.pi * window * np.fft.fftfreq(side)) ** 2
    blur = np.exp(-(axis[:, None, None] + axis[:, None] + axis))
    variance = 2 * float((np.fft.fftn(correlation**2).real * blur).sum()) / side**3
    return max(4 / max(variance, np.finfo(np.float64).tiny), 1.0)


def _filter(first: Tensor, second: Tensor) -> Tensor:
    """Weight of each shell, of the correlation with a perfect map; zero beyond the resolution."""
    weaker = torch.minimum(first, second).clamp(0, 1)
    weaker[0] = 1
    below = torch.nonzero(weaker[1:] < _THRESHOLD)
    last = int(below[0, 0]) if len(below) else len(weaker) - 1
    weights = (2 * weaker / (1 + weaker)).sqrt()
    # Maps that agree nowhere are shown at the coarsest.
    weights[: _FEWEST_SHELLS + 1] = weights[: _FEWEST_SHELLS + 1].clamp_min(0.5)
    weights[max(last, _FEWEST_SHELLS) + 1 :] = 0
    return weights


def _filtered(volume: Tensor, weights: Tensor) -> Tensor:
    """A map whose shells are weighted."""
    side = volume.shape[-1]
    axis = torch.fft.fftfreq(side, 1 / side).square()
    half = torch.fft.rfftfreq(side, 1 / side).square()
    shell = (axis[:, None, None] + axis[:, None] + half).sqrt().round().long()
    padded = torch.cat([weights, weights.new_zeros(int(shell.max()) + 1 - len(weights))])
    return torch.fft.irfftn(torch.fft.rfftn(volume) * padded[shell].float(), s=volume.shape)
