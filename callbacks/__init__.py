"""Callbacks: what watches and steers a running Trainer."""

from cryo_disentangle.callbacks.adapters import AdaptedModel, ModelAdapter, adapt
from cryo_disentangle.callbacks.leaks import PoseLeak, RotationTest
from cryo_disentangle.callbacks.metrics import DisentanglementMetrics, PoseConformationMetrics
from cryo_disentangle.callbacks.penalties import PenaltyCallback
from cryo_disentangle.callbacks.pose_intervention import PoseInterventionPenalty
from cryo_disentangle.callbacks.prediction import PredictionWriter
from cryo_disentangle.callbacks.report import RunReport
from cryo_disentangle.callbacks.slowness import SlownessPenalty

__all__ = [
    "AdaptedModel",
    "DisentanglementMetrics",
    "ModelAdapter",
    "PenaltyCallback",
    "PoseConformationMetrics",
    "PoseInterventionPenalty",
    "PoseLeak",
    "PredictionWriter",
    "RotationTest",
    "RunReport",
    "SlownessPenalty",
    "adapt",
]
