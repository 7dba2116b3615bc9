"""Latent spaces of cryo-EM heterogeneous reconstruction that mean something."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("cryo-disentangle")
except PackageNotFoundError:  # on PYTHONPATH alone, as on a machine without pip
    __version__ = "0+unknown"

__all__ = ["__version__"]
