"""What the tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

_SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    """Path of reference data beside the checkout; skips the test where it is absent."""
    path = _SHARED / name
    if not path.exists():
        pytest.skip(f"reference data not at hand: shared/{name} (beside the checkout)")
    return path
