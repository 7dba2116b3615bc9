"""What a latent space is about: what is inferred of particles, scored and put into words."""

from cryo_disentangle.judgement.identifiability import judge_identifiability
from cryo_disentangle.judgement.inferred import InferredRows, infer_rows

__all__ = ["InferredRows", "infer_rows", "judge_identifiability"]
