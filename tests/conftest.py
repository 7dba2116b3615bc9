"""One core each for tests side by side, long ones first; no example judged by how long it takes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from matplotlib.figure import Figure

from tests import pictures

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)

# How long an example takes, says how busy the machine is.
settings.register_profile(
    "whole", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("whole")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts whole programs, which take longest, first: so processes side by side end together."""
    here = Path(__file__).parent
    items.sort(key=lambda item: item.path.parent != here)


@pytest.fixture(scope="session", autouse=True)
def _small_pictures() -> Iterator[None]:
    """Saves pictures coarsely; `tests.forked` does so in other processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", pictures.save_coarsely)
        yield


@pytest.fixture
def whole_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saves pictures as users get them, in a test that looks at them."""
    monkeypatch.setattr(Figure, "savefig", pictures.save_whole)
