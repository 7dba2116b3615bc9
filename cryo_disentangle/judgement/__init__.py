"""The judge of latent spaces: what is inferred of particles, scored and put into words."""

from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.judgement.image_scores import ImagedModel, measure_images
from cryo_disentangle.judgement.inferred import InferredParticles, infer_particles
from cryo_disentangle.judgement.particle_scores import (
    describe_components,
    describe_coordinates,
    judge_labels,
    measure_disentanglement,
    measure_leaks,
    measure_truth,
)
from cryo_disentangle.judgement.scores import Measurement, Score
from cryo_disentangle.judgement.verdict import Verdict, judge

__all__ = [
    "ImagedModel",
    "InferredParticles",
    "Measurement",
    "Score",
    "Verdict",
    "describe_components",
    "describe_coordinates",
    "infer_particles",
    "judge",
    "judge_identifiability",
    "judge_labels",
    "measure_disentanglement",
    "measure_images",
    "measure_leaks",
    "measure_truth",
]
