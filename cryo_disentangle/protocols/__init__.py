"""What the parts may know of each other: anything with these methods can be put in their place."""

from cryo_disentangle.protocols.inference import ConformationEncoder
from cryo_disentangle.protocols.terms import ConformationPrior, Penalty, Score
from cryo_disentangle.protocols.volumes import VolumeDecoder

__all__ = [
    "ConformationEncoder",
    "ConformationPrior",
    "Penalty",
    "Score",
    "VolumeDecoder",
]
