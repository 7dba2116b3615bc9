"""Finished runs, looked at: is a latent space about shape or about pose?"""

from cryo_disentangle.evaluation.evaluation import Evaluation, evaluate
from cryo_disentangle.evaluation.export import export_cryodrgn
from cryo_disentangle.evaluation.opening import open_run
from cryo_disentangle.evaluation.rendering import infer_by_rendering
from cryo_disentangle.evaluation.runs import DataFiles, FinishedRun

__all__ = [
    "DataFiles",
    "Evaluation",
    "FinishedRun",
    "evaluate",
    "export_cryodrgn",
    "infer_by_rendering",
    "open_run",
]
