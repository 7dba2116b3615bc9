"""Inference f: images, or a particle's number, to the conformation's posterior and to poses."""

from cryo_disentangle.encoders.mlp import MLPEncoder
from cryo_disentangle.encoders.pose import InPlanePoseHead, PoseHead
from cryo_disentangle.encoders.table import LatentTable

__all__ = ["InPlanePoseHead", "LatentTable", "MLPEncoder", "PoseHead"]
