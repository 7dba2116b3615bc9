"""Experiments of several trainings."""

from cryo_disentangle.benchmark.restarts import Restart, best_restart, train_restarts

__all__ = ["Restart", "best_restart", "train_restarts"]
