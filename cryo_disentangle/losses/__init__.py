"""Terms added to any training loss, and how their weights change during training.

Interventions on pose and conformation (Klindt et al. 2024), and the baselines that people compare
with. Each penalty is a module for a training loop and its mathematics a function.
"""

from cryo_disentangle.losses.ada_gvae import ada_gvae_posterior
from cryo_disentangle.losses.dip_vae import DIPVAE, dip_covariance
from cryo_disentangle.losses.distances import (
    ChordalDistance,
    ConformationDistance,
    ContrastiveDistance,
    GeodesicDistance,
    NormalizedDistance,
    PoseDistance,
    PosteriorDistance,
    RelativeDistance,
    SquaredDistance,
    WithVarianceFloor,
    relative_invariance,
)
from cryo_disentangle.losses.draws import StepDraws
from cryo_disentangle.losses.factor_vae import FactorVAE, permute_coordinates
from cryo_disentangle.losses.interventions import ConformationIntervention, PoseIntervention
from cryo_disentangle.losses.noise import EstimatedNoise
from cryo_disentangle.losses.pose_sources import (
    InPlanePoses,
    PoseSource,
    ShuffledPoses,
    UniformPoses,
    shuffled_order,
)
from cryo_disentangle.losses.round_trip import (
    GradientTarget,
    InterventionTerms,
    RoundTripDistance,
    conformation_intervention,
    own_pose,
    pose_intervention,
)
from cryo_disentangle.losses.scheduled import ScheduledPenalty
from cryo_disentangle.losses.schedules import (
    CyclicSchedule,
    LinearSchedule,
    Schedule,
    weight_at,
)
from cryo_disentangle.losses.structure import (
    BondLengths,
    Smoothness,
    bond_length_change,
    displacement_difference,
    neighbour_pairs,
)
from cryo_disentangle.losses.total_correlation import TotalCorrelation, total_correlation

__all__ = [
    "BondLengths",
    "ChordalDistance",
    "ConformationDistance",
    "ConformationIntervention",
    "ContrastiveDistance",
    "CyclicSchedule",
    "DIPVAE",
    "EstimatedNoise",
    "FactorVAE",
    "GeodesicDistance",
    "GradientTarget",
    "InPlanePoses",
    "InterventionTerms",
    "LinearSchedule",
    "NormalizedDistance",
    "PoseDistance",
    "PoseIntervention",
    "PoseSource",
    "PosteriorDistance",
    "RelativeDistance",
    "RoundTripDistance",
    "Schedule",
    "ScheduledPenalty",
    "ShuffledPoses",
    "Smoothness",
    "SquaredDistance",
    "StepDraws",
    "TotalCorrelation",
    "UniformPoses",
    "WithVarianceFloor",
    "ada_gvae_posterior",
    "bond_length_change",
    "conformation_intervention",
    "dip_covariance",
    "displacement_difference",
    "neighbour_pairs",
    "own_pose",
    "permute_coordinates",
    "pose_intervention",
    "relative_invariance",
    "shuffled_order",
    "total_correlation",
    "weight_at",
]
