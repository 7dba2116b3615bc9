"""Disentanglement and pose metrics: how much of a molecule a latent space has found.

Each metric is a class here (torchmetrics) and a function in `cryo_disentangle.metrics.functional`.
`DisentanglementMetrics` holds all scores of latents against true factors, `disentanglement_metrics`
gives them for arrays at hand:

    >>> import torch
    >>> from cryo_disentangle.metrics import disentanglement_metrics
    >>> factors = torch.rand(1000, 2, generator=torch.Generator().manual_seed(0))
    >>> scores = disentanglement_metrics(factors.flip(1) ** 3, factors)
    >>> print(f"{scores['mcc_spearman']:.2f} {scores['mig']:.1f} {scores['mcc_pearson']:.1f}")
    1.00 1.0 0.9
"""

from cryo_disentangle.metrics.correlation import MCC, MeanCanonicalCorrelation, R2Linear, SplineMCC
from cryo_disentangle.metrics.decoding_test import DecodingTest
from cryo_disentangle.metrics.fixed_factor_scores import BetaVAEScore, FactorVAEScore
from cryo_disentangle.metrics.in_plane_rotation import RotationTest
from cryo_disentangle.metrics.infomec import InfoMEC
from cryo_disentangle.metrics.information import MED, MIG, Modularity
from cryo_disentangle.metrics.intervals import bootstrap_interval, permutation_null
from cryo_disentangle.metrics.neighbourhood import InformationImbalance, NeighbourhoodSimilarity
from cryo_disentangle.metrics.pose_conformation import PoseConformationMetrics
from cryo_disentangle.metrics.pose_leak import PoseLeak
from cryo_disentangle.metrics.prediction import DCI, IRS, SAP, Explicitness
from cryo_disentangle.metrics.ranking import rank_models
from cryo_disentangle.metrics.redrawn_noise import RedrawnNoise
from cryo_disentangle.metrics.spread_leak import SpreadLeak
from cryo_disentangle.metrics.suite import DisentanglementMetrics, disentanglement_metrics
from cryo_disentangle.metrics.unsupervised import (
    GaussianTotalCorrelation,
    GaussianWassersteinCorrelation,
    PairwiseMutualInformation,
)

__all__ = [
    "BetaVAEScore",
    "DCI",
    "DecodingTest",
    "DisentanglementMetrics",
    "Explicitness",
    "FactorVAEScore",
    "GaussianTotalCorrelation",
    "GaussianWassersteinCorrelation",
    "IRS",
    "InfoMEC",
    "InformationImbalance",
    "MCC",
    "MED",
    "MIG",
    "MeanCanonicalCorrelation",
    "Modularity",
    "NeighbourhoodSimilarity",
    "PairwiseMutualInformation",
    "PoseConformationMetrics",
    "PoseLeak",
    "R2Linear",
    "RedrawnNoise",
    "RotationTest",
    "SAP",
    "SplineMCC",
    "SpreadLeak",
    "bootstrap_interval",
    "disentanglement_metrics",
    "permutation_null",
    "rank_models",
]
