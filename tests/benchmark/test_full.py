"""Every cell of configs/benchmark can be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from cryo_disentangle.benchmark.cells import Cell
from cryo_disentangle.benchmark.configuration import read_benchmark
from cryo_disentangle.benchmark.jobs import training_configuration
from cryo_disentangle.benchmark.planning import Plan, make_plan
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.evaluation.training_runs import build
from cryo_disentangle.simulation.command import make_simulation

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmark"


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The full benchmark on a few particles."""
    changes = ["seeds=[0]", "held_out=50", "defaults.simulate.n_images=64"]
    found = make_plan(
        read_benchmark(CONFIGS / "full.yaml", changes), tmp_path_factory.mktemp("full")
    )
    for stack in found.stacks:
        make_simulation(stack.settings).write(stack.folder)
    return found


def test_every_training_of_the_full_benchmark_can_begin(plan: Plan) -> None:
    assert len(plan.stacks) == 9
    assert {cell.method for cell in plan.cells} >= {"PoseVAE", "atomic", "PCA", "ICA"}
    for cell in plan.first:
        _begin(cell)


def _begin(cell: Cell) -> None:
    """Builds model and data of a cell, and infers the conformations of a few particles."""
    cell.folder.mkdir(parents=True)
    configuration = training_configuration(cell, 0, cell.folder)
    module, data = build(configuration, cell.folder, DataFiles())
    batch = next(iter(data.predict_dataloader()))
    few = {name: value[:2] for name, value in batch.items()}
    with torch.no_grad():
        found = module.eval().infer(few)  # type: ignore[operator]
    assert found.mean.isfinite().all(), cell.name
