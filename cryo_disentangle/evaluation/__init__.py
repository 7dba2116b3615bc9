"""Finished runs, judged: does a latent space encode conformation or the viewing direction?"""

from cryo_disentangle.evaluation.evaluation import evaluate
from cryo_disentangle.evaluation.export import export_cryodrgn
from cryo_disentangle.evaluation.run_kinds import open_run

__all__ = [
    "evaluate",
    "export_cryodrgn",
    "open_run",
]
