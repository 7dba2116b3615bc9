"""Every cell of configs/benchmark can be made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cryo_disentangle.benchmark.cells import TRAINING, Cell
from cryo_disentangle.benchmark.configuration import read_benchmark
from cryo_disentangle.benchmark.jobs import training_configuration
from cryo_disentangle.benchmark.planning import Plan, make_plan
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.evaluation.training_runs import build
from cryo_disentangle.simulation.command import make_simulation
from tests.statistics.synthetic import statistics_of, write

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmark"
DATASETS = [
    "adk_snr1",
    "adk_snr0.1",
    "adk_snr0.03",
    "adk_sheared",
    "adk_temperatures",
    "adk_harmonic",
    "adk_entangled",
    "in_plane",
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The full benchmark on a few particles."""
    folder = tmp_path_factory.mktemp("full")
    (folder / "simulate").symlink_to(CONFIGS.parent / "simulate")
    file = folder / "benchmark/full.yaml"
    file.parent.mkdir()
    text = (CONFIGS / "full.yaml").read_text()
    file.write_text(text.replace("n_images: 10000", "n_images: 64"))
    changes = ["seeds=[0]", "held_out=50", "datasets.in_plane.simulate.n_images=64"]
    return make_plan(read_benchmark(file, changes), folder / "out")


def test_all_data_sets_and_methods_are_there(plan: Plan) -> None:
    assert [stack.dataset for stack in plan.stacks] == DATASETS
    assert [each.dataset for each in plan.passes] == DATASETS[:-1]
    methods = {cell.method for cell in plan.cells}
    assert methods >= {"PoseVAE", "SlowVAE", "Boltzmann", "3DVA-like", "image-VAE", "VAE+axes"}


@pytest.mark.parametrize("dataset", ["adk_snr0.1", "adk_temperatures", "in_plane"])
def test_every_training_of_the_full_benchmark_can_begin(dataset: str, plan: Plan) -> None:
    cells = [cell for cell in plan.first if cell.dataset == dataset]
    trained = [cell for cell in cells if cell.settings["kind"] == "training"]
    assert len(trained) >= 2
    _write_stack(plan, trained[0])
    for cell in trained:
        _begin(cell)


def _write_stack(plan: Plan, cell: Cell) -> None:
    """Writes the particles of a data set and, where they have any, statistics without meaning."""
    (stack,) = (stack for stack in plan.stacks if stack.folder == cell.stack)
    make_simulation(stack.settings).write(stack.folder)
    if stack.dataset in [each.dataset for each in plan.passes]:
        coefficients = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        cell.statistics.mkdir()
        write(cell.statistics / TRAINING, statistics_of(coefficients))


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
