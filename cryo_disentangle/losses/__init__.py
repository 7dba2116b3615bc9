"""Terms added to any training loss, and how their weights change during training.

Interventions on pose and conformation (Klindt et al. 2024), and the baselines that people compare
with. Each penalty is a module for a training loop and its mathematics a function.
"""

from cryo_disentangle.losses.ada_gvae import ada_gvae_posterior
from cryo_disentangle.losses.dip_vae import DIPVAE
from cryo_disentangle.losses.distances import (
    ChordalDistance,
    ContrastiveDistance,
    GeodesicDistance,
    NormalizedDistance,
    PosteriorDistance,
    RelativeDistance,
    SquaredDistance,
    WithVarianceFloor,
)
from cryo_disentangle.losses.factor_vae import FactorVAE
from cryo_disentangle.losses.interventions import ConformationIntervention, PoseIntervention
from cryo_disentangle.losses.noise import EstimatedNoise
from cryo_disentangle.losses.pose_sources import (
    InPlanePoses,
    ShuffledPoses,
    UniformPoses,
    shuffled_order,
)
from cryo_disentangle.losses.round_trip import (
    RoundTripDistance,
    conformation_intervention,
    pose_intervention,
)
from cryo_disentangle.losses.schedules import CyclicSchedule, LinearSchedule
from cryo_disentangle.losses.structure import BondLengths, Smoothness
from cryo_disentangle.losses.total_correlation import TotalCorrelation

__all__ = [
    "BondLengths",
    "ChordalDistance",
    "ConformationIntervention",
    "ContrastiveDistance",
    "CyclicSchedule",
    "DIPVAE",
    "EstimatedNoise",
    "FactorVAE",
    "GeodesicDistance",
    "InPlanePoses",
    "LinearSchedule",
    "NormalizedDistance",
    "PoseIntervention",
    "PosteriorDistance",
    "RelativeDistance",
    "RoundTripDistance",
    "ShuffledPoses",
    "Smoothness",
    "SquaredDistance",
    "TotalCorrelation",
    "UniformPoses",
    "WithVarianceFloor",
    "ada_gvae_posterior",
    "conformation_intervention",
    "pose_intervention",
    "shuffled_order",
]
