"""The command line; importing it loads nothing else, so that help comes at once."""

from cryo_disentangle.cli.command import main

__all__ = [
    "main",
]
