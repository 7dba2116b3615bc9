"""What several tests of callbacks look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.callbacks import two_processes as programs
from tests.forked import together


@pytest.fixture(scope="session")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Findings of all programs of two processes, a folder each; one start serves all."""
    folder = tmp_path_factory.mktemp("two_processes")
    together(programs.main, folder)
    return folder
