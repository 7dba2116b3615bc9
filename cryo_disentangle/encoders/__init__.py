"""Amortised inference f: images to posteriors of the conformation."""

from cryo_disentangle.encoders.mlp import MLPEncoder

__all__ = ["MLPEncoder"]
