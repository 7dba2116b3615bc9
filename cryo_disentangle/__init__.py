"""Latent spaces of cryo-EM heterogeneous reconstruction that mean something."""

from importlib.metadata import version

__version__ = version("cryo-disentangle")

__all__ = ["__version__"]
