"""Metrics as pure functions: latents (N, K) and factors (N, D) in, float64 scores out."""

from cryo_disentangle.metrics.functional.binning import bin_codes
from cryo_disentangle.metrics.functional.circular import circular_linear_r2, fisher_lee
from cryo_disentangle.metrics.functional.correlation import (
    matching,
    mcc,
    mean_canonical_correlation,
    pearson_matrix,
    r2_linear,
    spearman_matrix,
    spline_mcc,
)
from cryo_disentangle.metrics.functional.dci import DCIScores, dci
from cryo_disentangle.metrics.functional.explicitness import explicitness
from cryo_disentangle.metrics.functional.gauge import (
    PoseGauge,
    align_latents,
    align_poses,
    fit_pose_gauge,
)
from cryo_disentangle.metrics.functional.infomec import InfoMECScores, infomec
from cryo_disentangle.metrics.functional.information import (
    ModularityDetails,
    entropy,
    med,
    mig,
    modularity,
    modularity_details,
    mutual_information,
)
from cryo_disentangle.metrics.functional.interventional import (
    active_variances,
    beta_vae_accuracy,
    beta_vae_features,
    beta_vae_score,
    beta_vae_score_from_codes,
    factor_vae_accuracy,
    factor_vae_score,
    factor_vae_score_from_codes,
    factor_vae_votes,
)
from cryo_disentangle.metrics.functional.irs import irs
from cryo_disentangle.metrics.functional.leak import (
    NuisanceLeakScores,
    PoseLeakScores,
    nuisance_leak,
    pose_leak,
)
from cryo_disentangle.metrics.functional.neighbourhood import (
    InformationImbalanceScores,
    information_imbalance,
    neighbourhood_similarity,
)
from cryo_disentangle.metrics.functional.oracle import (
    FactorMixture,
    fit_factor_mixture,
    oracle_scores,
    posterior_means,
    posterior_means_linearised,
)
from cryo_disentangle.metrics.functional.pose_conformation import (
    ConformationScore,
    PoseScore,
    conformation_encoder_consistency,
    conformation_pose_invariance,
    pose_conformation_invariance,
    pose_encoder_consistency,
    volume_consistency,
    volume_pose_invariance,
)
from cryo_disentangle.metrics.functional.rotation import (
    RotationScores,
    rotate_images,
    rotate_particles,
    rotation_scores,
)
from cryo_disentangle.metrics.functional.sap import sap
from cryo_disentangle.metrics.functional.spread import (
    SpreadLeakScores,
    nuisance_spread_leak,
    view_spread_leak,
)
from cryo_disentangle.metrics.functional.unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_mutual_information,
)

__all__ = [
    "FactorMixture",
    "fit_factor_mixture",
    "oracle_scores",
    "posterior_means",
    "posterior_means_linearised",
    "ConformationScore",
    "DCIScores",
    "InfoMECScores",
    "InformationImbalanceScores",
    "ModularityDetails",
    "NuisanceLeakScores",
    "PoseGauge",
    "PoseLeakScores",
    "PoseScore",
    "RotationScores",
    "SpreadLeakScores",
    "active_variances",
    "align_latents",
    "align_poses",
    "beta_vae_accuracy",
    "beta_vae_features",
    "beta_vae_score",
    "beta_vae_score_from_codes",
    "bin_codes",
    "circular_linear_r2",
    "conformation_encoder_consistency",
    "conformation_pose_invariance",
    "dci",
    "entropy",
    "explicitness",
    "factor_vae_accuracy",
    "factor_vae_score",
    "factor_vae_score_from_codes",
    "factor_vae_votes",
    "fisher_lee",
    "fit_pose_gauge",
    "gaussian_total_correlation",
    "gaussian_wasserstein_correlation",
    "infomec",
    "information_imbalance",
    "irs",
    "matching",
    "mcc",
    "mean_canonical_correlation",
    "med",
    "mig",
    "modularity",
    "modularity_details",
    "mutual_information",
    "neighbourhood_similarity",
    "nuisance_leak",
    "nuisance_spread_leak",
    "pairwise_mutual_information",
    "pearson_matrix",
    "pose_conformation_invariance",
    "pose_encoder_consistency",
    "pose_leak",
    "r2_linear",
    "rotate_images",
    "rotate_particles",
    "rotation_scores",
    "sap",
    "spearman_matrix",
    "spline_mcc",
    "view_spread_leak",
    "volume_consistency",
    "volume_pose_invariance",
]
