"""Callbacks: what watches and steers a running Trainer."""

from cryo_disentangle.callbacks.prediction import PredictionWriter
from cryo_disentangle.callbacks.report import RunReport

__all__ = ["PredictionWriter", "RunReport"]
