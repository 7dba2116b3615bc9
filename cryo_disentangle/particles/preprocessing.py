"""What is done to images between the file and the model."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from cryo_disentangle.imaging.window import soft_window

__all__ = ["HartleyPreprocessing", "ImageSource", "Preprocessing", "RealPreprocessing"]

_STATISTICS_IMAGES = 1000
_BLOCK_VALUES = 2**20


class ImageSource(Protocol):
    """Images by number, for example a `ParticleStack`."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, indices: npt.ArrayLike) -> npt.NDArray[np.float32]:
        """Reads images.

        Args:
            indices: 0-based, shape (B,).

        Returns:
            Images, shape (B, D, D).
        """
        ...


class Preprocessing(abc.ABC):
    """Turns images as stored into images as models take them.

    Attributes:
        norm: (mean, standard deviation) that images are normalised by; None until `fit`.
        invert: Whether images are multiplied by -1; None until `fit`.
    """

    norm: tuple[float, float] | None
    invert: bool | None

    def fit(self, source: ImageSource) -> Preprocessing:
        """Measures the normalisation, and finds whether to invert, unless these are given.

        Args:
            source: Images; about a thousand of them, evenly spaced, are read in small chunks. Where
                it has an attribute ``positive``, as `ParticleStack`, this tells their contrast.

        Returns:
            The same preprocessing with `norm` and `invert`.
        """
        positive = getattr(source, "positive", None)
        if self.invert is None:
            return self.with_invert(not positive).fit(source)
        if positive is not None and self.invert == positive:
            warnings.warn(
                f"preprocessing.invert is {str(self.invert).lower()}, and blob/sign is "
                f"{'+1' if positive else '-1'} in the particle file: volumes come out "
                "negative; leave invert out to follow the file",
                stacklevel=2,
            )
        return self if self.norm is not None else self.with_norm(self.measure(source))

    @property
    def fitted_norm(self) -> tuple[float, float]:
        """The normalisation.

        Raises:
            ValueError: If there is none yet, or its standard deviation is not positive.
        """
        if self.norm is None:
            raise ValueError("preprocessing has no normalisation: call fit(stack) or give norm")
        if not self.norm[1] > 0:
            raise ValueError(f"norm must have a positive standard deviation, found {self.norm[1]}")
        return self.norm

    @abc.abstractmethod
    def measure(self, source: ImageSource) -> tuple[float, float]:
        """Measures (mean, standard deviation) over the images that `fit` reads.

        Args:
            source: Images.

        Returns:
            The normalisation.
        """

    @abc.abstractmethod
    def with_norm(self, norm: tuple[float, float]) -> Preprocessing:
        """Gives the same preprocessing another normalisation.

        Args:
            norm: (mean, standard deviation).

        Returns:
            A copy.
        """

    @abc.abstractmethod
    def with_invert(self, invert: bool) -> Preprocessing:
        """Gives the same preprocessing another sign.

        Args:
            invert: Whether to multiply by -1.

        Returns:
            A copy.
        """

    @abc.abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Prepares a batch.

        Args:
            images: Shape (B, D, D), axes y, x, as stored.

        Returns:
            Shape (B, L, L) with L = D + 1 in Hartley space, or (B, D, D) in real space.

        Raises:
            ValueError: If there is no normalisation yet.
        """


@dataclass(frozen=True)
class HartleyPreprocessing(Preprocessing):
    """Symmetrised Hartley transforms, exactly as cryoDRGN prepares images.

    Window in real space, inversion, Hartley transform, symmetrisation, then (H - mean) / std. The
    mean is 0, and std that of transforms without window.

    Args:
        invert: Whether to multiply by -1, as white particles with a CTF need; by default
            what the particle file says (cryoSPARC's ``blob/sign``), and yes where it says nothing.
        window_radius: Radius up to which the soft window is one, as a fraction of half the box
            (it falls to zero at 0.99); None for no window.
        norm: (mean, standard deviation) of the transforms; measured by default.
    """

    invert: bool | None = None
    window_radius: float | None = 0.85
    norm: tuple[float, float] | None = None

    def measure(self, source: ImageSource) -> tuple[float, float]:
        """Returns 0 and the standard deviation of transforms without window."""
        _, std = _statistics(hartley_lattice(images) for images in _sample(source))
        return 0.0, std

    def with_norm(self, norm: tuple[float, float]) -> HartleyPreprocessing:
        """Returns the same preprocessing with another normalisation."""
        return replace(self, norm=norm)

    def with_invert(self, invert: bool) -> HartleyPreprocessing:
        """Returns the same preprocessing with another sign."""
        return replace(self, invert=invert)

    def __call__(self, images: Tensor) -> Tensor:
        """Prepares a batch: (B, D, D) to (B, L, L)."""
        mean, std = self.fitted_norm
        window = _window(images.shape[-1], self.window_radius, images.device)
        sign = 1.0 if self.invert is False else -1.0
        transforms = hartley_lattice(images * (window * (sign / std)))
        return transforms if mean == 0 else transforms.sub_(mean / std)


@dataclass(frozen=True)
class RealPreprocessing(Preprocessing):
    """Normalised images in real space.

    (x - mean) / std, inversion, then the window, which therefore fades to the mean.

    Args:
        invert: Whether to multiply by -1, as white particles with a CTF need; by default
            what the particle file says (cryoSPARC's ``blob/sign``), and yes where it says nothing.
        window_radius: Radius up to which the soft window is one, as a fraction of half the box
            (it falls to zero at 0.99); None for no window.
        norm: (mean, standard deviation) of the images as stored; measured by default.
    """

    invert: bool | None = None
    window_radius: float | None = 0.85
    norm: tuple[float, float] | None = None

    def measure(self, source: ImageSource) -> tuple[float, float]:
        """Returns mean and standard deviation of the images as stored."""
        return _statistics(_sample(source))

    def with_norm(self, norm: tuple[float, float]) -> RealPreprocessing:
        """Returns the same preprocessing with another normalisation."""
        return replace(self, norm=norm)

    def with_invert(self, invert: bool) -> RealPreprocessing:
        """Returns the same preprocessing with another sign."""
        return replace(self, invert=invert)

    def __call__(self, images: Tensor) -> Tensor:
        """Prepares a batch: (B, D, D) to (B, D, D)."""
        mean, std = self.fitted_norm
        window = _window(images.shape[-1], self.window_radius, images.device)
        sign = 1.0 if self.invert is False else -1.0
        return (images - mean).mul_(window * (sign / std))


def hartley_lattice(images: Tensor) -> Tensor:
    """Centred Hartley transforms on the symmetrised lattice, in one pass.

    Equal to ``symmetrize(hartley2(images))``. Half the spectrum of real images suffices, since
    F(-k) is the conjugate of F(k): H(k) = Re F - Im F and H(-k) = Re F + Im F. The shift of the
    origin to pixel D / 2 is a factor (-1)^(k_x + k_y).

    Args:
        images: Shape (B, D, D), D even.

    Returns:
        Shape (B, L, L) with L = D + 1.
    """
    box_size = images.shape[-1]
    lattice = images.new_empty(len(images), box_size + 1, box_size + 1)
    # Temporaries of a block stay in the processor's cache and do not grow with the batch.
    step = max(1, _BLOCK_VALUES // box_size**2)
    for block, target in zip(images.split(step), lattice.split(step), strict=True):
        _fill_lattice(target, block)
    return lattice


def _fill_lattice(lattice: Tensor, images: Tensor) -> None:
    """Writes the transforms of a block of images."""
    box_size = images.shape[-1]
    half = box_size // 2
    spectrum = torch.fft.rfft2(images).mul_(_checkerboard(box_size, images.device))
    forward = spectrum.real - spectrum.imag
    backward = (spectrum.real + spectrum.imag)[..., 1:].flip(-2, -1)
    lattice[:, :half, half:] = forward[:, half:]
    lattice[:, half:, half:] = forward[:, : half + 1]
    lattice[:, : half + 1, :half] = backward[:, half - 1 :]
    lattice[:, half + 1 :, :half] = backward[:, :half]


@lru_cache(maxsize=8)
def _checkerboard(box_size: int, device: torch.device) -> Tensor:
    """(-1)^(k_x + k_y) on the half spectrum, shape (D, D / 2 + 1)."""
    rows, columns = torch.arange(box_size), torch.arange(box_size // 2 + 1)
    return (1.0 - 2.0 * ((rows[:, None] + columns) % 2)).to(device)


@lru_cache(maxsize=8)
def _window(box_size: int, radius: float | None, device: torch.device) -> Tensor:
    """The soft window, or ones."""
    window = torch.ones(box_size, box_size) if radius is None else soft_window(box_size, radius)
    return window.to(device)


def _sample(source: ImageSource) -> Iterator[Tensor]:
    """Reads the images that cryoDRGN takes its statistics from, in chunks."""
    total = len(source)
    rows = np.arange(0, total, total // min(_STATISTICS_IMAGES, total))
    first = source.read(rows[:1])
    step = max(1, _BLOCK_VALUES // first[0].size)
    for start in range(0, len(rows), step):
        images = source.read(rows[start : start + step])
        # A source that tolerates bad images delivers NaN in their place.
        finite = np.isfinite(images).all(axis=(1, 2))
        if finite.any():
            yield torch.from_numpy(images[finite])


def _statistics(chunks: Iterator[Tensor]) -> tuple[float, float]:
    """Mean and unbiased standard deviation over all values, merged in float64.

    References:
        Chan, Golub and LeVeque 1983: the sum of squares about the mean of merged samples.
    """
    count, mean, squares = 0, 0.0, 0.0
    for chunk in chunks:
        variance, chunk_mean = torch.var_mean(chunk.double(), correction=0)
        size = chunk.numel()
        difference, total = float(chunk_mean) - mean, count + size
        squares += float(variance) * size + difference**2 * count * size / total
        mean += difference * size / total
        count = total
    if not count:
        raise ValueError("all images that the normalisation is measured on are constant or NaN")
    return mean, (squares / (count - 1)) ** 0.5
