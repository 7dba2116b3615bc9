"""The stacks and cells of a benchmark, checked before any of them runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from cryo_disentangle.benchmark.cells import Cell, Pass, Stack
from cryo_disentangle.benchmark.configuration import Benchmark, DataSet, Method
from cryo_disentangle.benchmark.latents import find_latents, read_stored
from cryo_disentangle.evaluation.cryodrgn_runs import is_cryodrgn_run
from cryo_disentangle.evaluation.training_runs import check_configuration

__all__ = ["Plan", "choose_cells", "make_plan", "make_stacks"]

_STATISTICS = "StatisticsData"


class Plan(NamedTuple):
    """Work that a benchmark has still to do.

    Attributes:
        stacks: Particles of every data set and seed.
        passes: Statistics of those whose methods read them.
        first: Cells that need nothing but their stack.
        readings: Cells that read the latents of a cell of ``first``.
    """

    stacks: list[Stack]
    passes: list[Pass]
    first: list[Cell]
    readings: list[Cell]

    @property
    def cells(self) -> list[Cell]:
        """All cells."""
        return [*self.first, *self.readings]


def make_plan(benchmark: Benchmark, out: Path) -> Plan:
    """Lays out a benchmark, and checks models, latents and runs that it names.

    Args:
        benchmark: The benchmark.
        out: Folder to run it in.

    Returns:
        Its stacks and cells, in the order of the file.

    Raises:
        FileNotFoundError: If latents or a run are missing.
        ValueError: If a model can't be made of its configuration, or latents don't fit.
    """
    out = out.resolve()
    first: dict[tuple[str, str, int], Cell] = {}
    readings = []
    for method in sorted(benchmark.methods.values(), key=lambda method: method.of is not None):
        for dataset in [benchmark.datasets[name] for name in method.on]:
            settings = _settings(benchmark, method, dataset)
            for seed in benchmark.seeds:
                cell = Cell(method.name, dataset.name, seed, out, settings)
                own: dict[str, Any] = {"stack": dataset.with_seed(seed)}
                if method.of is not None:
                    own["of_digest"] = first[method.of, dataset.name, seed].digest
                elif method.folder is not None:
                    own |= _finished(method, dataset, seed)
                cell = replace(cell, settings=settings | own)
                if method.of is None:
                    first[method.name, dataset.name, seed] = cell
                else:
                    readings.append(cell)
    stacks = make_stacks(benchmark, out)
    return Plan(stacks, _passes(benchmark, stacks), list(first.values()), readings)


def choose_cells(
    benchmark: Benchmark,
    plan: Plan,
    datasets: Collection[str] | None,
    methods: Collection[str] | None,
) -> Plan:
    """Leaves out data sets and methods that are not to be run now.

    Args:
        benchmark: The benchmark.
        plan: The whole of it.
        datasets: Data sets to keep; None is all.
        methods: Methods to keep; None is all. A method whose latents one of them reads is kept,
            too.

    Returns:
        The part of the plan.

    Raises:
        ValueError: If a name is none of the benchmark's.
    """
    _refuse_unknown("--datasets", datasets, benchmark.datasets)
    _refuse_unknown("--methods", methods, benchmark.methods)

    def kept(cell: Cell) -> bool:
        return (datasets is None or cell.dataset in datasets) and (
            methods is None or cell.method in methods
        )

    readings = [cell for cell in plan.readings if kept(cell)]
    read = {cell.at(cell.settings["of"]) for cell in readings}
    first = [cell for cell in plan.first if kept(cell) or cell.folder in read]
    return Plan(plan.stacks, plan.passes, first, readings)


def _refuse_unknown(
    option: str, names: Collection[str] | None, known: Mapping[str, object]
) -> None:
    """Refuses names that the benchmark has not."""
    for name in names or ():
        if name not in known:
            raise ValueError(f"{option}: the benchmark has {', '.join(known)}, found {name!r}")


def make_stacks(
    benchmark: Benchmark, out: Path, datasets: Collection[str] | None = None
) -> list[Stack]:
    """Lists the particles of data sets, of all seeds.

    Args:
        benchmark: The benchmark.
        out: Folder to run it in.
        datasets: Data sets, all by default.

    Returns:
        The stacks, in the order of the file.

    Raises:
        ValueError: If a name is none of the benchmark's.
    """
    _refuse_unknown("--datasets", datasets, benchmark.datasets)
    return [
        Stack(dataset.name, seed, out.resolve(), dataset.with_seed(seed))
        for dataset in benchmark.datasets.values()
        if datasets is None or dataset.name in datasets
        for seed in benchmark.seeds
    ]


def _passes(benchmark: Benchmark, stacks: Sequence[Stack]) -> list[Pass]:
    """Lists the statistics of stacks that have any."""
    found = []
    for stack in stacks:
        options = benchmark.datasets[stack.dataset].statistics
        if options is not None:
            own = {"stack": stack.settings, "options": options, "held_out": benchmark.held_out}
            found.append(Pass(stack.dataset, stack.seed, stack.out, own))
    return found


def _settings(benchmark: Benchmark, method: Method, dataset: DataSet) -> dict[str, Any]:
    """What the results of all seeds depend on."""
    settings = {
        "kind": method.kind,
        "held_out": benchmark.held_out,
        "sees_held_out": method.sees_held_out,
    }
    if method.of is not None:
        return settings | {"of": method.of}
    if method.folder is not None:
        return settings
    where = f"{benchmark.file}: {method.name} on {dataset.name}"
    if method.kind == "subspace":
        return settings | {"statistics": _shared(dataset, where)}
    training = benchmark.training(method, dataset)
    if str(training.get("data", {}).get("class_path")).endswith(_STATISTICS):
        settings |= {"statistics": _shared(dataset, where)}
    try:
        _check_once(json.dumps(training, sort_keys=True))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return settings | {"training": training, "restarts": method.restarts}


@cache
def _check_once(training: str) -> None:
    """Checks what a method trains, which is often the same on several data sets."""
    check_configuration(json.loads(training))


def _shared(dataset: DataSet, where: str) -> Mapping[str, Any]:
    """Options of the statistics that a method reads."""
    if dataset.statistics is None:
        raise ValueError(
            f"{where}: the method reads statistics, and the data set has none: give it a mapping "
            "statistics, or take it out of the method's on"
        )
    return dataset.statistics


def _finished(method: Method, dataset: DataSet, seed: int) -> dict[str, Any]:
    """Latents or a run that somebody else has made."""
    folder = Path(method.folder or "") / dataset.name / f"seed_{seed}"
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; {method.name} needs one for each data set and seed"
        )
    if method.kind == "latents":
        path = find_latents(folder)
        read_stored(path, dataset.n_images)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {"folder": str(folder), "sha256": digest}
    if not is_cryodrgn_run(folder):
        raise ValueError(f"{folder}: a run of cryoDRGN expected, found no weights*.pkl")
    weights = sorted(folder.glob("weights*.pkl"))
    # Weights are large; whoever trains on changes their time.
    marks = {path.name: path.stat().st_mtime_ns for path in weights}
    return {"folder": str(folder), "weights": marks}
