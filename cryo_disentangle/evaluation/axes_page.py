"""The page of named axes: what was found of them, with pictures."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from cryo_disentangle.drawing.pages import PagePicture, draw_page
from cryo_disentangle.embeddings.embedding import Embedding
from cryo_disentangle.files.paths import replacing

__all__ = ["AxesPage", "Section"]


class Section(NamedTuple):
    """A finding.

    Attributes:
        title: In a few words.
        words: In sentences.
        picture: File of its picture, in the page's folder, or None.
    """

    title: str
    words: str
    picture: str | None


@dataclass
class AxesPage:
    """Collects what is said of axes, and writes it.

    Args:
        folder: Where ``axes.png`` lies, and the page goes.
        embedding: The latents.
        verdict: Whether axes are determined, in words.
        sections: Findings so far.
    """

    folder: Path
    embedding: Embedding
    verdict: str
    sections: list[Section] = field(default_factory=list)

    def add(self, title: str, words: str, picture: str | None = None) -> None:
        """Adds a finding.

        Args:
            title: In a few words.
            words: In sentences.
            picture: File of its picture, in the page's folder.
        """
        self.sections.append(Section(title, words, picture))

    def write(self) -> None:
        """Writes ``report.html``, which needs nothing else, and appends to ``axes.txt``.

        Raises:
            OSError: If a file is missing or cannot be written.
        """
        names = [("Axes", self.verdict, "axes.png"), *self.sections]
        found = [(title, words, self._picture(title, picture)) for title, words, picture in names]
        text = draw_page(
            "axes.html",
            title=f"Axes of {self.embedding.source.name}",
            facts={
                "latents": f"{self.embedding.latents.shape[1]} coordinates of "
                f"{len(self.embedding):,} particles, {self.embedding.tool}",
                "file": str(self.embedding.source),
            },
            sections=found,
            footer=f"cryo-disentangle {version('cryo-disentangle')}, "
            f"{datetime.now():%Y-%m-%d %H:%M}.",
        )
        with replacing(self.folder / "report.html") as temporary:
            temporary.write_text(text, encoding="utf-8")
        lines = [self.verdict, *(section.words for section in self.sections)]
        with replacing(self.folder / "axes.txt") as temporary:
            temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _picture(self, title: str, name: str | None) -> PagePicture | None:
        """A picture of the page."""
        return None if name is None else PagePicture(title, "", (self.folder / name).read_bytes())
