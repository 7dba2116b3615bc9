"""The unknown volume v: conformations to densities, one file a decoder."""

from cryo_disentangle.decoders.basis import BasisDecoder
from cryo_disentangle.decoders.encoding import AxisEncoding, GaussianEncoding, PositionalEncoding
from cryo_disentangle.decoders.implicit import ImplicitDecoder

__all__ = [
    "AxisEncoding",
    "BasisDecoder",
    "GaussianEncoding",
    "ImplicitDecoder",
    "PositionalEncoding",
]
