"""The Python of the documentation runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("page", ["metrics.md"])
def test_code_blocks_run(page: str) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (_DOCS / page).read_text(), re.M | re.S)
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
