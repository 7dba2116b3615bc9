"""Scores the cell whose folder is the only argument, in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from cryo_disentangle.benchmark.scoring import score_cell

if __name__ == "__main__":
    try:
        score_cell(Path(sys.argv[1]))
    except (OSError, ValueError, TypeError) as error:
        sys.exit(f"cryo-disentangle: error: {error}")
