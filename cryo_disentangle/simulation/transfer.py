"""CTF parameters of simulated particles, and their effect on images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from cryo_disentangle.imaging import contrast_transfer
from cryo_disentangle.simulation.draws import Draws
from cryo_disentangle.simulation.tables import choose_rows, read_ctf_rows

__all__ = [
    "ContrastTransfer",
    "ContrastTransferFromFile",
    "ContrastTransferRange",
    "apply_contrast_transfer",
]


class ContrastTransfer(Protocol):
    """A distribution of CTF parameters."""

    def rows(self, draws: Draws, box_size: int, pixel_size: float) -> Tensor:
        """Draws CTF parameters.

        Args:
            draws: Random numbers of B particles, which these alone determine.
            box_size: Image side in pixels.
            pixel_size: Å per pixel.

        Returns:
            CryoDRGN's nine columns as in `ParticleBatch`, shape (B, 9), float32.
        """
        ...


@dataclass(frozen=True)
class ContrastTransferRange:
    """One microscope; defocus and astigmatism uniform on ranges.

    Args:
        defocus_angstrom: Smallest and largest mean defocus in Å; underfocus is positive.
        astigmatism_angstrom: Largest difference of defocus U and V in Å, uniform from 0; its angle
            is uniform.
        voltage_kv: Acceleration voltage in kV.
        spherical_aberration_mm: Spherical aberration in mm.
        amplitude_contrast: Amplitude contrast, from 0 to 1.
        phase_shift_deg: Phase shift of a phase plate in degrees.

    Raises:
        ValueError: If a range is the wrong way round, or the voltage or the amplitude contrast is
            out of bounds.
    """

    defocus_angstrom: tuple[float, float] = (8000.0, 20000.0)
    astigmatism_angstrom: float = 500.0
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1
    phase_shift_deg: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.defocus_angstrom
        if low > high or self.astigmatism_angstrom < 0:
            raise ValueError(
                "defocus needs smallest <= largest and astigmatism >= 0, found "
                f"{self.defocus_angstrom} and {self.astigmatism_angstrom}"
            )
        if not self.voltage_kv > 0 or not 0 <= self.amplitude_contrast <= 1:
            raise ValueError(
                "voltage must be positive and amplitude contrast from 0 to 1, found "
                f"{self.voltage_kv} kV and {self.amplitude_contrast}"
            )

    def rows(self, draws: Draws, box_size: int, pixel_size: float) -> Tensor:
        """Draws CTF rows (B, 9)."""
        u = draws.uniform("ctf", 3)
        low, high = self.defocus_angstrom
        mean = low + (high - low) * u[:, 0]
        half = self.astigmatism_angstrom * u[:, 1] / 2
        drawn = torch.stack([mean + half, mean - half, 180 * u[:, 2]], dim=1)
        fixed = [
            self.voltage_kv,
            self.spherical_aberration_mm,
            self.amplitude_contrast,
            self.phase_shift_deg,
        ]
        before = drawn.new_tensor([box_size, pixel_size]).expand(len(drawn), 2)
        after = drawn.new_tensor(fixed).expand(len(drawn), 4)
        return torch.cat([before, drawn, after], dim=1).float()


@dataclass(frozen=True)
class ContrastTransferFromFile:
    """CTF parameters drawn from the rows of a file, with replacement.

    Box and pixel size are the simulation's; defocus and optics are the file's.

    Args:
        file: ``ctf.pkl``, a STAR file, a cryoSPARC ``.cs``, or an ``.npz``.
        key: In an ``.npz``, the array (N, 9) of cryoDRGN's columns.
    """

    file: Path
    key: str = "ctf"

    @cached_property
    def table(self) -> Tensor:
        """All rows of the file, shape (N, 9), float32."""
        return read_ctf_rows(Path(self.file), self.key)

    def rows(self, draws: Draws, box_size: int, pixel_size: float) -> Tensor:
        """Draws CTF rows (B, 9)."""
        rows = self.table[choose_rows(draws, len(self.table))].clone()
        rows[:, 0], rows[:, 1] = box_size, pixel_size
        return rows


def apply_contrast_transfer(images: Tensor, ctf: Tensor, **terms: Tensor) -> Tensor:
    """Multiplies images with their CTF in Fourier space.

    The multiplication is periodic in the box, as in cryoDRGN's and RELION's models of an image:
    what the microscope spreads beyond an edge comes in at the opposite one.

    Args:
        images: Shape (B, D, D), D even.
        ctf: Shape (B, 9), columns as in `ParticleBatch`.
        **terms: What else is known of it, as `ctf_terms` gives it; shape (B,) each.

    Returns:
        Shape (B, D, D).
    """
    side = images.shape[-1]
    y, x = torch.meshgrid(
        torch.fft.fftfreq(side, device=images.device),
        torch.fft.rfftfreq(side, device=images.device),
        indexing="ij",
    )
    frequencies = torch.stack([x.flatten(), y.flatten()], dim=1)
    transfer = contrast_transfer(frequencies, ctf, side, **terms)
    transfer = transfer.unflatten(1, (side, side // 2 + 1))
    return torch.fft.irfft2(torch.fft.rfft2(images).mul_(transfer), s=(side, side))
