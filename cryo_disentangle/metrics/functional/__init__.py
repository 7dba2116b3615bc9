"""Metrics as pure functions: latents (N, K) and factors (N, D) in, float64 scores out."""

from cryo_disentangle.metrics.functional.correlation import mcc, r2_linear, spline_mcc
from cryo_disentangle.metrics.functional.leak import pose_leak
from cryo_disentangle.metrics.functional.pose_conformation import (
    conformation_pose_invariance,
    pose_conformation_invariance,
    volume_pose_invariance,
)
from cryo_disentangle.metrics.functional.rotation import rotate_particles, rotation_scores

__all__ = [
    "conformation_pose_invariance",
    "mcc",
    "pose_conformation_invariance",
    "pose_leak",
    "r2_linear",
    "rotate_particles",
    "rotation_scores",
    "spline_mcc",
    "volume_pose_invariance",
]
