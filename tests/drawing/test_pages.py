from __future__ import annotations

from typing import Any

import pytest
from jinja2 import UndefinedError

from cryo_disentangle.drawing.pages import PagePicture, draw_page

_EMPTY: dict[str, Any] = {"facts": {}, "sections": [], "points": None}


def test_text_is_escaped_and_pictures_are_inside() -> None:
    table = {"head": ["a", "b"], "rows": [["x < y", "1"]]}
    points = PagePicture('"', "it's", b"png")
    section = {"heading": "<h>", "table": None, "words": ["<script>"]}
    content: dict[str, Any] = {"facts": {"<f>": "&"}, "sections": [section], "points": points}
    page = draw_page("leaderboard.html", title="<t>", everything=table, **content)
    assert "<script>" not in page
    assert "<title>&lt;t&gt;</title>" in page
    assert '<tr><td>x &lt; y</td><td class="n">1</td></tr>' in page
    assert '<img alt="&#34;" src="data:image/png;base64,cG5n">' in page
    assert "<dt>&lt;f&gt;</dt><dd>&amp;</dd>" in page
    assert page.endswith("</html>\n")


def test_a_name_without_a_value_is_no_empty_place() -> None:
    with pytest.raises(UndefinedError, match="everything"):
        draw_page("leaderboard.html", title="t", **_EMPTY)
