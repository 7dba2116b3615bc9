"""Experiments of several trainings."""

from cryo_disentangle.benchmark.restarts import best_restart, train_restarts

__all__ = [
    "best_restart",
    "train_restarts",
]
