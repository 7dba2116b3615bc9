"""Noise of images: its level and its radial power spectrum.

The signal-to-noise ratio (SNR) here is the variance of the clean signal over the variance of the
noise, both over the pixels inside the circle of radius D / 2. The clean signal is what the
microscope records without noise: projected, shifted, CTF applied. Its variance is taken in each
image about the image's mean over the circle, and then averaged over images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from cryo_disentangle.precision import exact

__all__ = [
    "circular_mask",
    "colour_noise",
    "drawing_from",
    "radial_noise_filter",
    "signal_variance",
]


@contextmanager
def drawing_from(generator: torch.Generator, device: torch.device | None = None) -> Iterator[None]:
    """Lets what draws from torch's global generator draw from another one, and leaves it as it was.

    Args:
        generator: Source of randomness, from which one number is taken.
        device: Where is drawn; None is the generator's device. The number of a generator of the
            CPU is had without waiting for the device.

    Yields:
        Nothing.
    """
    device = generator.device if device is None else device
    devices = [device] if device.type == "cuda" else []
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    # Seeding devices that are not there would cost more than what is drawn.
    everywhere = device.type != "cpu"
    with torch.random.fork_rng(devices):
        (torch.manual_seed if everywhere else torch.default_generator.manual_seed)(int(seed))
        yield


def circular_mask(box_size: int) -> Tensor:
    """Marks the pixels inside the circle of radius D / 2 about pixel D / 2.

    Args:
        box_size: Image side D in pixels.

    Returns:
        Shape (D, D), bool.
    """
    axis = torch.arange(box_size) - box_size // 2
    return axis[:, None].square() + axis[None, :].square() <= (box_size / 2) ** 2


def signal_variance(images: Tensor) -> float:
    """Mean over images of the variance of the pixels inside the circle of radius D / 2.

    Args:
        images: Clean images, shape (B, D, D).

    Returns:
        The variance, with the number of pixels in the denominator.
    """
    inside = exact(images[:, circular_mask(images.shape[-1]).to(images.device)])
    return float(inside.var(dim=1, correction=0).mean())


def radial_noise_filter(spectrum: Sequence[float], spectrum_box_size: int, box_size: int) -> Tensor:
    """Makes the filter that gives white noise a radial power spectrum and leaves its variance.

    Args:
        spectrum: Power at radii 0, 1, 2, ... of the Fourier transform of a box, any scale.
        spectrum_box_size: Side of that box in pixels. Radius r is r / side cycles per pixel, and is
            read at the same number of cycles per pixel, linearly interpolated; beyond the last
            radius the last value holds.
        box_size: Side D of the images to be filtered.

    Returns:
        Real factors for ``torch.fft.rfft2`` of images, shape (D, D // 2 + 1), with mean square one
        over the whole transform.

    Raises:
        ValueError: If the spectrum does not have one value for each radius up to the Nyquist
            frequency (the last may be missing or there twice), or a value is negative or all are
            zero.
    """
    power = torch.as_tensor(spectrum, dtype=torch.float64)
    nyquist = spectrum_box_size // 2
    if power.ndim != 1 or not nyquist - 1 <= len(power) <= nyquist + 2:
        raise ValueError(
            f"a noise spectrum of box {spectrum_box_size} has {nyquist + 1} radii, found "
            f"{tuple(power.shape)}"
        )
    if not bool((power >= 0).all()) or not bool((power > 0).any()):
        raise ValueError("a noise spectrum must not be negative, nor zero everywhere")
    y = torch.fft.fftfreq(box_size, dtype=torch.float64)
    radius = torch.hypot(y[:, None], y[None, :]) * spectrum_box_size
    radius = radius.clamp_max(len(power) - 1)
    below = radius.long().clamp_max(len(power) - 2)
    interpolated = torch.lerp(power[below], power[below + 1], radius - below)
    factors = (interpolated / interpolated.mean()).sqrt()
    return factors[:, : box_size // 2 + 1].float()


def colour_noise(white: Tensor, factors: Tensor) -> Tensor:
    """Gives white noise the spectrum of a filter.

    Args:
        white: White noise, shape (B, D, D).
        factors: Result of `radial_noise_filter`, shape (D, D // 2 + 1).

    Returns:
        Shape (B, D, D), of the same variance in expectation.
    """
    return torch.fft.irfft2(torch.fft.rfft2(white).mul_(factors), s=white.shape[-2:])
