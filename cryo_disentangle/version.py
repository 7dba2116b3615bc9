"""Version of the package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["__version__"]

try:
    __version__ = version("cryo-disentangle")
except PackageNotFoundError:  # on PYTHONPATH alone, as on a machine without pip
    __version__ = "0+unknown"
