"""What lies between a molecule and its image: pose, contrast transfer, and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from torch import Tensor

from cryo_disentangle.imaging.noise import colour_noise, radial_noise_filter
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.tables import read_array
from cryo_disentangle.simulation.transfer import ContrastTransfer
from cryo_disentangle.simulation.views import Shifts, Views

__all__ = ["ColouredNoise", "Microscope", "Noise", "WhiteNoise"]


class Noise(Protocol):
    """Noise that is added to images."""

    @property
    def snr(self) -> float:
        """Variance of the signal over variance of the noise, as `imaging.noise` defines them."""
        ...

    def sample(self, draws: Draws, box_size: int) -> Tensor:
        """Draws noise of variance one.

        Args:
            draws: Random numbers of B particles, which these alone determine.
            box_size: Image side D in pixels.

        Returns:
            Noise, shape (B, D, D), float32.
        """
        ...


def _check_snr(snr: float) -> None:
    """Refuses a signal-to-noise ratio that is not positive."""
    if not snr > 0:
        raise ValueError(f"snr must be positive, found {snr}; for images without noise give none")


@dataclass(frozen=True)
class WhiteNoise:
    """Independent normal noise in every pixel.

    Args:
        snr: Variance of the clean signal over variance of the noise, inside the circle of radius
            D / 2 (`imaging.noise`).

    Raises:
        ValueError: If it is not positive.
    """

    snr: float

    def __post_init__(self) -> None:
        _check_snr(self.snr)

    def sample(self, draws: Draws, box_size: int) -> Tensor:
        """Draws noise (B, D, D) of variance one."""
        return draws.normal_images("noise", box_size)


@lru_cache(maxsize=4)
def _filter(spectrum: tuple[float, ...], spectrum_box_size: int, box_size: int) -> Tensor:
    """Keeps the filter of the stack at hand."""
    return radial_noise_filter(spectrum, spectrum_box_size, box_size)


@dataclass(frozen=True)
class ColouredNoise:
    """Normal noise with a radial power spectrum.

    Args:
        snr: As for `WhiteNoise`.
        spectrum: Power at radii 0, 1, 2, ... up to the Nyquist frequency, any scale.
        spectrum_box_size: Side in pixels of the box in which the spectrum was measured.

    Raises:
        ValueError: If the SNR is not positive, or the spectrum is not that of such a box.
    """

    snr: float
    spectrum: Sequence[float]
    spectrum_box_size: int

    def __post_init__(self) -> None:
        _check_snr(self.snr)
        radial_noise_filter(self.spectrum, self.spectrum_box_size, 2)

    @classmethod
    def from_file(cls, file: Path, key: str, spectrum_box_size: int, snr: float) -> ColouredNoise:
        """Reads the spectrum from an ``.npz`` file.

        Args:
            file: NumPy archive.
            key: Name of the array of powers.
            spectrum_box_size: Side in pixels of the box in which the spectrum was measured.
            snr: As for `WhiteNoise`.

        Returns:
            The noise.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it lacks the key, or the spectrum is not that of such a box.
        """
        return cls(snr, read_array(Path(file), key).tolist(), spectrum_box_size)

    def sample(self, draws: Draws, box_size: int) -> Tensor:
        """Draws noise (B, D, D) of variance one."""
        white = draws.normal_images("noise", box_size)
        return colour_noise(white, _filter(tuple(self.spectrum), self.spectrum_box_size, box_size))


@dataclass(frozen=True)
class Microscope:
    """Forward model from molecules to images.

    Args:
        views: Distribution of rotations.
        shifts: Distribution of in-plane translations; none leaves particles centred.
        ctf: Distribution of CTF parameters; none leaves the contrast as it is.
        noise: Noise; none leaves images clean.
    """

    views: Views
    shifts: Shifts | None = None
    ctf: ContrastTransfer | None = None
    noise: Noise | None = None
