"""What parts require of each other: any object with these methods can be used."""

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
