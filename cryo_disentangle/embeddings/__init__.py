"""Latents of finished runs of any program: cryoDRGN, RECOVAR, cryoSPARC, RELION and others."""

from cryo_disentangle.embeddings.recognition import open_embedding

__all__ = [
    "open_embedding",
]
