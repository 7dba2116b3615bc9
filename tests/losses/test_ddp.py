"""Penalties in two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.forked import together
from tests.losses.two_processes import Step, part, work


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the two processes left."""
    folder = tmp_path_factory.mktemp("two")
    together(work, str(folder))
    return [torch.load(Path(folder) / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_fixed_poses_give_the_gradient_of_one_process(found: list[dict[str, Any]]) -> None:
    one = Step(fixed=True)
    one(part(slice(None))).backward()
    for name, parameter in one.named_parameters():
        for process in found:
            torch.testing.assert_close(process["gradients"][name], parameter.grad)


def test_processes_draw_differently(found: list[dict[str, Any]]) -> None:
    """The same particles in both, but other shuffles and noise."""
    first, second = (process["losses"] for process in found)
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_processes_share_the_level_of_noise_and_the_count(found: list[dict[str, Any]]) -> None:
    key = "penalties.0.noise_std._extra_state"
    first, second = (process["state"][key] for process in found)
    assert first["count"] == second["count"] == 2
    assert torch.equal(first["second_moment"], second["second_moment"])
    assert found[0]["state"]["penalties.0.draws._extra_state"] == {"step": 2}
