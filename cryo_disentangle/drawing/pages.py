"""HTML pages that need nothing else: style and pictures are inside them."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["PagePicture", "draw_page"]


class PagePicture(NamedTuple):
    """A picture and what to see in it.

    Attributes:
        title: In a few words.
        caption: What to look for.
        png: The picture's file.
    """

    title: str
    caption: str
    png: bytes

    @property
    def base64(self) -> str:
        """The file as it stands in a page."""
        return base64.b64encode(self.png).decode("ascii")


def draw_page(template: str, **content: Any) -> str:  # noqa: ANN401 - what the template names
    """Fills a template; whatever text comes into it is escaped.

    Args:
        template: Its file in ``drawing/templates``.
        **content: Values of the names in it.

    Returns:
        HTML that can be read on a phone and in print.

    Raises:
        jinja2.UndefinedError: If the template has a name without a value.
    """
    pages = Environment(
        loader=PackageLoader("cryo_disentangle.drawing"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return pages.get_template(template).render(content) + "\n"
