"""The unknown volume v: conformations to densities, one file a decoder."""

from cryo_disentangle.decoders.atomic import AtomicDecoder
from cryo_disentangle.decoders.basis import BasisDecoder
from cryo_disentangle.decoders.encoding import AxisEncoding, GaussianEncoding, PositionalEncoding
from cryo_disentangle.decoders.flow import FlowDecoder
from cryo_disentangle.decoders.free_displacement import FreeDisplacement
from cryo_disentangle.decoders.implicit import ImplicitDecoder
from cryo_disentangle.decoders.normal_modes import NormalModes
from cryo_disentangle.decoders.rigid_domains import HingedDomains, RigidDomains

__all__ = [
    "AtomicDecoder",
    "AxisEncoding",
    "BasisDecoder",
    "FlowDecoder",
    "FreeDisplacement",
    "GaussianEncoding",
    "HingedDomains",
    "ImplicitDecoder",
    "NormalModes",
    "PositionalEncoding",
    "RigidDomains",
]
