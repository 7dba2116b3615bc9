"""Callbacks: what watches and steers a running Trainer."""

from cryo_disentangle.adapters import adapt
from cryo_disentangle.callbacks.checkpoint_files import AtomicCheckpointIO
from cryo_disentangle.callbacks.complete_checkpoints import AccumulatedGradients, FinalCheckpoint
from cryo_disentangle.callbacks.export import CryoDRGNExport
from cryo_disentangle.callbacks.identifiability import IdentifiabilityCheck
from cryo_disentangle.callbacks.latent_figures import LatentFigures
from cryo_disentangle.callbacks.name_axes import NameAxes
from cryo_disentangle.callbacks.non_finite import NonFiniteGuard
from cryo_disentangle.callbacks.penalties import PenaltyCallback
from cryo_disentangle.callbacks.pose_intervention import PoseInterventionPenalty
from cryo_disentangle.callbacks.prediction import PredictionWriter
from cryo_disentangle.callbacks.run_report import RunReport
from cryo_disentangle.callbacks.score_callback import ScoreCallback
from cryo_disentangle.callbacks.scores import (
    DisentanglementMetrics,
    PoseConformationMetrics,
    PoseLeak,
    RotationTest,
)
from cryo_disentangle.callbacks.signals import SignalCheckpoint
from cryo_disentangle.callbacks.slowness import SlownessPenalty
from cryo_disentangle.callbacks.traversals import TraversalVolumes

__all__ = [
    "AccumulatedGradients",
    "AtomicCheckpointIO",
    "CryoDRGNExport",
    "DisentanglementMetrics",
    "FinalCheckpoint",
    "IdentifiabilityCheck",
    "LatentFigures",
    "NameAxes",
    "NonFiniteGuard",
    "PenaltyCallback",
    "PoseConformationMetrics",
    "PoseInterventionPenalty",
    "PoseLeak",
    "PredictionWriter",
    "RotationTest",
    "RunReport",
    "ScoreCallback",
    "SignalCheckpoint",
    "SlownessPenalty",
    "TraversalVolumes",
    "adapt",
]
