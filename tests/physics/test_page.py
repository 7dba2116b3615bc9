"""Tables of docs/assumptions.md are those of the committed results."""

from __future__ import annotations

from pathlib import Path

from tests.forked import ROOT, script


def test_the_page_says_what_the_tables_say(tmp_path: Path) -> None:
    page = ROOT / "docs/assumptions.md"
    copy = tmp_path / "assumptions.md"
    copy.write_bytes(page.read_bytes())
    script(ROOT / "benchmarks/physics/page.py", "--page", str(copy))
    assert copy.read_text() == page.read_text()
