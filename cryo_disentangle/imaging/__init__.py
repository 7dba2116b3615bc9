"""Known physics of the microscope: pure functions of tensors, in cryoDRGN's conventions exactly."""

from cryo_disentangle.imaging.ctf import contrast_transfer
from cryo_disentangle.imaging.lattice import FourierDisc
from cryo_disentangle.imaging.shift import shift_hartley

__all__ = [
    "FourierDisc",
    "contrast_transfer",
    "shift_hartley",
]
