"""cryoSPARC's particle tables."""

from __future__ import annotations

from collections.abc import Iterator

from cryo_disentangle.files import CsTable

__all__ = ["CryosparcParticles"]


class CryosparcParticles(CsTable):
    """The particles of a ``.cs`` file."""

    def paths(self) -> Iterator[str]:
        """Reads the stack of each particle.

        Returns:
            One text a row: ``blob/path`` without the mark ``>`` of imported files.

        Raises:
            MissingColumnError: If there is no such field.
            ValueError: If it holds no text.
        """
        return (text.lstrip(">") for text in self.strings("blob/path"))
