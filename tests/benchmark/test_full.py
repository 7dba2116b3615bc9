"""Every cell of configs/benchmark can be made."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from cryo_disentangle import cli
from cryo_disentangle.benchmark.cells import Cell
from cryo_disentangle.benchmark.configuration import read_benchmark
from cryo_disentangle.benchmark.jobs import training_configuration
from cryo_disentangle.benchmark.planning import Plan, make_plan
from cryo_disentangle.evaluation.runs import DataFiles
from cryo_disentangle.evaluation.training_runs import build, open_training_run
from cryo_disentangle.simulation.command import make_simulation

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "benchmark"
DATASETS = [
    "adk_snr1",
    "adk_snr0.1",
    "adk_snr0.03",
    "adk_sheared",
    "adk_temperatures",
    "adk_entangled",
    "in_plane",
]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """The full benchmark on a few particles."""
    changes = ["seeds=[0]", "held_out=50", "defaults.simulate.n_images=64"]
    benchmark = read_benchmark(CONFIGS / "full.yaml", changes)
    return make_plan(benchmark, tmp_path_factory.mktemp("full"))


def test_all_data_sets_and_methods_are_there(plan: Plan) -> None:
    assert [stack.dataset for stack in plan.stacks] == DATASETS
    methods = {cell.method for cell in plan.cells}
    assert methods >= {"PoseVAE", "SlowVAE", "Boltzmann", "atomic", "auto-decoder", "PCA", "ICA"}


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_training_of_the_full_benchmark_can_begin(dataset: str, plan: Plan) -> None:
    cells = _with_particles(plan, dataset)
    assert len(cells) >= 4
    for cell in cells:
        _begin(cell)


@pytest.mark.filterwarnings("ignore")  # Lightning's and jsonargparse's, which users see too
def test_what_a_training_leaves_is_opened_again(plan: Plan) -> None:
    cells = _with_particles(plan, "two_arms_mixed")
    assert {"atomic", "rendered", "auto-decoder", "PoseVAE"} <= {cell.method for cell in cells}
    for cell in cells:
        folder = cell.folder / "opened"
        folder.mkdir(parents=True)
        configuration = training_configuration(cell, 0, folder)
        configuration["trainer"] |= {"max_steps": 1, "accelerator": "cpu"}
        configuration["data"]["init_args"]["batch_size"] = 4
        path = folder / "given.yaml"
        path.write_text(yaml.safe_dump(configuration))
        cli.main(["fit", "--config", str(path)])
        run = open_training_run(folder)
        assert run.epoch == 1, cell.name


def _with_particles(plan: Plan, dataset: str) -> list[Cell]:
    """Cells that are trained on a data set, whose particles are there."""
    (stack,) = (stack for stack in plan.stacks if stack.dataset == dataset)
    if not stack.folder.exists():
        make_simulation(stack.settings).write(stack.folder)
    return [cell for cell in plan.first if cell.dataset == dataset]


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
