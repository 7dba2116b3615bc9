"""Known physics of the microscope: pure functions of tensors, in cryoDRGN's conventions exactly."""

from cryo_disentangle.imaging.ctf import contrast_transfer, ctf_terms
from cryo_disentangle.imaging.fsc import fourier_shell_correlation, resolution_at
from cryo_disentangle.imaging.hartley import (
    desymmetrize,
    hartley2,
    hartley3,
    inverse_hartley2,
    inverse_hartley3,
    symmetrize,
)
from cryo_disentangle.imaging.lattice import FourierDisc, lattice_frequencies
from cryo_disentangle.imaging.shift import shift_hartley
from cryo_disentangle.imaging.window import soft_window

__all__ = [
    "FourierDisc",
    "contrast_transfer",
    "ctf_terms",
    "desymmetrize",
    "fourier_shell_correlation",
    "hartley2",
    "hartley3",
    "inverse_hartley2",
    "inverse_hartley3",
    "lattice_frequencies",
    "resolution_at",
    "shift_hartley",
    "soft_window",
    "symmetrize",
]
