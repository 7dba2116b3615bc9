"""Tables of docs/assumptions.md are those of the committed results."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests import tiny

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_says_what_the_tables_say(tmp_path: Path) -> None:
    page = ROOT / "docs/assumptions.md"
    copy = tmp_path / "assumptions.md"
    copy.write_bytes(page.read_bytes())
    command = [sys.executable, str(ROOT / "benchmarks/physics/page.py"), "--page", str(copy)]
    subprocess.run(command, env=tiny.environment(), cwd=ROOT, check=True)
    assert copy.read_text() == page.read_text()
