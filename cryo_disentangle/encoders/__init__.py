"""Inference f: from images, or by a particle's number or rendering, to conformation and pose."""

from cryo_disentangle.encoders.mlp import MLPEncoder
from cryo_disentangle.encoders.pose import InPlanePoseHead, PoseHead
from cryo_disentangle.encoders.rendered import RenderedPosterior
from cryo_disentangle.encoders.statistics import StatisticsEncoder
from cryo_disentangle.encoders.table import LatentTable

__all__ = [
    "InPlanePoseHead",
    "LatentTable",
    "MLPEncoder",
    "PoseHead",
    "RenderedPosterior",
    "StatisticsEncoder",
]
