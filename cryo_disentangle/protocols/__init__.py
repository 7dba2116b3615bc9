"""What the parts may know of each other: anything with these methods can be put in their place."""

from cryo_disentangle.protocols.inference import (
    ConformationEncoder,
    CountsParticles,
    EncoderSetting,
    Evidence,
    NeedsSetting,
)
from cryo_disentangle.protocols.models import (
    EvaluatesVolumes,
    HasDecoder,
    HasEncoder,
    HasImageNetworks,
    ImageNetworks,
    LatentImageModel,
)
from cryo_disentangle.protocols.terms import ConformationPrior, Penalty, ReportsTerms, Score
from cryo_disentangle.protocols.volumes import (
    HasMotion,
    MovingStructure,
    ReadsStructure,
    SizedInAngstrom,
    VolumeDecoder,
    WritesStructures,
)

__all__ = [
    "ConformationEncoder",
    "ConformationPrior",
    "CountsParticles",
    "EncoderSetting",
    "EvaluatesVolumes",
    "Evidence",
    "HasDecoder",
    "HasEncoder",
    "HasImageNetworks",
    "HasMotion",
    "ImageNetworks",
    "LatentImageModel",
    "MovingStructure",
    "NeedsSetting",
    "Penalty",
    "ReadsStructure",
    "ReportsTerms",
    "Score",
    "SizedInAngstrom",
    "VolumeDecoder",
    "WritesStructures",
]
